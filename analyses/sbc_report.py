"""The calibration study as a document."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sbc_worlds import AHEAD, CASES, DAYS, PLANTED, STOCKS

from civstats.diagnostics import ecdf_band
from civstats.plots.posterior_checks import rank_ecdf
from civstats.report import Report


def build(ranks: pd.DataFrame, table: pd.DataFrame, config: dict, stages: dict) -> Report:
    """Write the document."""
    report = Report(
        "Are the Bayesian model's posteriors right?",
        f"Simulation-based calibration, {config['replicates']} truths of each model",
    )
    real = table[table["model"] != PLANTED]
    planted = table[table["model"] == PLANTED]
    verdict = _verdict(real, planted)
    facts: dict[str, object] = {
        "Inside their own 95 % band": (
            f"{int(real['inside'].sum())} of {len(real)}",
            "models x quantities; one in twenty is expected outside",
        ),
        "Inside, all of a model together": (
            f"{int(real['inside_all'].sum())} of {len(real)}",
            "a band that the quantities of a model leave together in 5 % of studies",
        ),
    }
    if len(planted):
        least = float(planted["p_value"].min())
        facts["Planted error: smallest p-value"] = (
            "below 0.000001" if least < 1e-6 else f"{least:.1g}",
            "a bound taken for D > y; it must be small",
        )
    report.facts(facts)
    report.section("Question")
    report.text(
        "Parameters drawn from the prior, demand drawn from the parameters, sales cut by a stock "
        "that knows nothing of demand: given those sales, the truth is one more draw from the posterior. "
        f"Its rank among {config['ranks']} independent draws is uniform if likelihood, sampler, forecast and "
        "recovery are all right (Talts et al., 2018), whatever the prior. Ranked are the parameters "
        "(of those with many entries one is picked at random), and what is reported: the total of "
        f"the next {AHEAD} days, the units lost on past stockout days, and the money they would "
        "have earned, each series with its own margin.\n\n"
        f"A world is {DAYS} days of a few series, with {', '.join(map(str, STOCKS))} units on the shelf at "
        "random. "
        + "; ".join(
            f"**{name}**: {c['series']} series, {c['departments']} department(s), "
            f"{'weekly drift' if c['drift'] else 'fixed levels'}"
            for name, c in CASES.items()
            if name in config["cases"]
        )
        + "."
    )
    report.section("Ranks")
    bands = {n: ecdf_band(n, config["ranks"]) for n in set(table["n"])}
    for k, model in enumerate(dict.fromkeys(table["model"])):
        part = ranks[ranks["model"] == model]
        mine = table[table["model"] == model]
        out = mine.loc[~mine["inside"], "quantity"].tolist()
        title = (
            f"{model}: {len(mine) - len(out)} of {len(mine)} rank ECDFs stay inside their 95 % band"
        )
        report.figure(
            rank_ecdf(
                part, bands, config["ranks"], title,
                "ECDF of ranks less the uniform one, with its simultaneous 95 % band (Säilynoja, "
                "Bürkner and Vehtari, 2022). Orange: it leaves the band.",
            ),
            f"ranks_{k + 1}",
            f"Rank ECDFs of {model}.",
        )  # fmt: skip
    report.text(verdict)
    report.table(
        table,
        "Ranks by model and quantity.",
        name="ranks_table",
        max_rows=80,
        formats={"mean": ".2f", "p_value": ".3f", "p_adjusted": ".3f"},
        labels={
            "n": "truths", "mean": "mean rank, share", "p_value": "p-value",
            "inside": "inside its band", "p_adjusted": "p, adjusted", "inside_all": "inside, together",
        },
        note="Mean rank above 0.5: the truth lies above its draws, estimates are too low. "
        "Adjusted for the quantities of the model (Holm, 1979).",
    )  # fmt: skip
    report.section("Limits")
    slow = ranks.drop_duplicates(["model", "replicate"])
    low = float((slow["efficiency"] < 1).mean())
    report.text(
        f"- In {low:.1%} of fits fewer draws were effectively independent than are kept (smallest "
        "of all quantities): such ranks crowd at the ends, and widen the ECDF, not its centre.\n"
        "- Priors are narrower than the defaults, or most worlds would be a shelf always full or "
        "always empty. Calibration holds for every prior or for none; power does not.\n"
        "- Being inside a band is no proof: an error that moves ranks by a few points takes thousands "
        "of truths to see. The planted one shows what this number of them can see."
    )
    report.section("How this was run")
    report.table(
        pd.DataFrame([{"stage": k, "seconds": v["seconds"]} for k, v in stages.items()]),
        "Time of each stage.",
        formats={"seconds": ".1f"},
    )
    report.text(
        "Every rank is in [ranks.csv](ranks.csv), the table in [calibration.csv](calibration.csv), "
        "configuration and versions in [manifest.json](manifest.json)."
    )
    return report


def _verdict(real: pd.DataFrame, planted: pd.DataFrame) -> str:
    """Say what was found, errors first."""
    said = []
    if len(real):
        out = real[~real["inside_all"]]
        expected = 0.05 * len(real)
        alone = int((~real["inside"]).sum())
        said.append(
            f"**{len(real) - alone} of {len(real)} ECDFs stay inside their own band**; about {expected:.1f} "
            "would leave it by chance. "
            + (
                "Adjusted for their number none leaves."
                if out.empty
                else "Adjusted for their number these leave: "
                + "; ".join(
                    f"{r.model}, {r.quantity} (p {r.p_adjusted:.2g})" for r in out.itertuples()
                )
                + "."
            )
        )
    if len(planted):
        out = planted[~planted["inside"]]
        mean = float(np.nanmean(planted["mean"]))
        said.append(
            f"**The planted off-by-one leaves the band for {len(out)} of {len(planted)} quantities**"
            + (f": {', '.join(out['quantity'])}" if len(out) else "")
            + f" (mean rank {mean:.2f})."
        )
    return " ".join(said)
