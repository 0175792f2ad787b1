"""What to do when a gate fails, in words a modeller can act on."""

from __future__ import annotations

ADVICE: dict[str, str] = {
    "finite draws": (
        "NaN or infinite draws come from a likelihood that leaves its domain or overflows: look at the "
        "rows of the series named (a price of 0 in logs, sales that are no counts), then at the "
        "prior's tails; the prior predictive check shows both."
    ),
    "chains move": (
        "A chain that never moved started where the density is flat, infinite or very steep. Run "
        "again with another seed and more tuning; if it comes back, the start is at fault: begin "
        "from the prior's middle, and look for a parameter that is not identified (a group with no "
        "exact observation, a series always out of stock). Do not drop the chain and keep the others."
    ),
    "one chain": (
        "R-hat compares chains: with one it is undefined, and one chain cannot show that it missed a "
        "mode. Run at least 2 chains, better 4."
    ),
    "few draws": "There are too few draws to judge: run at least a few hundred a chain.",
    "nothing moved": (
        "No parameter that could be judged ever moved: nothing was sampled. Check the step size, the "
        "starting point, and that data reached the model."
    ),
    "R-hat": (
        "Chains disagree. Look at the rank plot of the worst parameter: if they drift towards each other, "
        "tune and draw longer; if they stay apart, the posterior has several modes or a parameter "
        "is not identified (two intercepts, a trend and a drift, a group with no exact observation): "
        "tighten its prior or take a component out."
    ),
    "bulk ESS": (
        "Draws are few or hang together: draw longer. If ESS grows slower than the draws, change "
        "the parametrisation: centred where groups have many days, non-centred where they have few."
    ),
    "tail ESS": (
        "The ends of the intervals rest on few draws: draw longer, and report 80 % rather than 95 % "
        "bands until they settle. A heavy-tailed prior of a scale (half-Cauchy) is a usual cause."
    ),
    "divergences": (
        "The sampler skips a part of the posterior, so that intervals may be wrong however "
        "many draws there are. Raise target_accept (0.95, 0.99); if they stay, a scale is near zero: "
        "use the non-centred form for small groups, or a prior that keeps the scale off zero."
    ),
    "E-BFMI": (
        "The energy changes too slowly: tails are explored badly. Reparametrise what is heavy-tailed "
        "or multiplicative (scales on the log, non-centred), tune longer."
    ),
    "no statistics": (
        "The sampler's statistics are missing: keep the group sample_stats (diverging, energy) when "
        "sampling, thinning and storing."
    ),
    "constant": (
        "They were fixed, or follow from the model's form (a reference level, a day without exposure). One "
        "that should have been learnt is not connected to the data."
    ),
    "saturated": (
        "Trees cut at the largest depth make draws slow and dependent, not wrong: raise "
        "max_treedepth, or rescale parameters of very different sizes."
    ),
}
