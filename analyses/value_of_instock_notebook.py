# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What being in stock is worth
#
# Sales are not demand. When a shelf is empty, sales stop and demand does not. This notebook goes from a panel of
# sales to a ranking of what a better availability is worth, in three figures, on a small synthetic panel whose
# demand is known. `analyses/value_of_instock.py` does the same for a whole store, with every model, every score
# and a report.

# %%
import numpy as np
import pandas as pd
from IPython.display import Image

from civstats import plots
from civstats.data.synthetic import make_panel
from civstats.demand_filter.recovery import recover
from civstats.models import make_forecaster
from civstats.models.availability import Replenishment, Shelf
from civstats.schema import validate_panel
from civstats.stockouts.simulate import simulate_stockouts
from civstats.value import (
    RecapturePrior,
    averted,
    explain,
    gain_between,
    gain_paths,
    gone,
    lost_paths,
    net_gains,
    portfolio,
    rank_gains,
    service_level,
    top_k_regret,
    true_gain,
)

H, MARGIN, PATHS, SEED = 28, 0.2, 400, 0


def show(plot: plots.Plot) -> Image:
    """Return a figure as the notebook shows it."""
    return Image(plot.png(), width=900)


# %% [markdown]
# ## The panel
#
# A row per series and day. Stockouts come from an inventory policy that knows past sales alone: a shelf runs empty
# when more is wanted than is there. `demand` is there because this is a simulation; no model may read it.

# %%
world = make_panel(n_series=36, n_days=400, seed=SEED)
panel = simulate_stockouts(world, mechanism="inventory", rate=0.15, seed=SEED)
cutoff = panel["ds"].max() - pd.Timedelta(days=H)
history, future = (
    validate_panel(part) for part in (panel[panel["ds"] <= cutoff], panel[panel["ds"] > cutoff])
)
panel[["unique_id", "ds", "y", "is_censored", "stock", "price", "promo"]].head()

# %%
show(plots.stockout_overview(panel))

# %% [markdown]
# ## What was lost
#
# Demand of past stockout days is recovered from what was sold before and after, as draws of whole histories: so the
# band of a sum is that of the sum. Half of the lost units, give or take a fifth, are taken to be bought after all, as
# a substitute or later: **net** is what is left.

# %%
recovered = recover(history, n_draws=200, parameter_draws=20, levels=(), seed=SEED)
since = cutoff - pd.Timedelta(days=90)
lost = lost_paths(
    recovered, price=history[["unique_id", "ds", "price"]], margin=MARGIN, start=since
)
lost_net = net_gains(lost, recapture=RecapturePrior(), seed=SEED)
out = history[(history["ds"] >= since) & history["is_censored"]]
truth_lost = float((out["demand"] - out["y"]).sum())
bands = ["units_p10", "units_mean", "units_p90", "value_p10", "value_mean", "value_p90"]
print(f"lost in 91 days, in truth: {truth_lost:,.0f} units")
pd.concat([portfolio(lost), portfolio(lost_net)], keys=["gross", "net"])[bands].round(1)

# %% [markdown]
# ## Demand to come, and the shelf along it
#
# LightGBM under `censor`: a stockout day enters its loss as P(demand ≥ sales). It returns joint sample paths. Along each of
# them the shelf is walked on from the stock at the cutoff, by the rule that past deliveries show: a world of high
# demand empties its own shelves.

# %%
covariates = future.drop(
    columns=[c for c in ("y", "is_censored", "stock", "demand", "demand_mean") if c in future]
)
forecast = (
    make_forecaster("LightGBM", treatment="censor", h=H)
    .fit(history)
    .predict(covariates, n_paths=PATHS, seed=SEED)
)
demand = forecast.paths
shelf = Shelf().fit(history)
base = shelf.paths(demand, future=covariates, seed=SEED)
truth_out = future["is_censored"].mean()
print(f"days out of stock: expected {float(base['out'].mean()):.1%}, in truth {truth_out:.1%}")

# %% [markdown]
# ## Levers
#
# Base and improved world share every draw, so under a lever on availability no path gains less than nothing. Faster
# replenishment runs the shop again on the same demand; a day that is saved may be missing later, so nothing is claimed
# path by path there.

# %%
prices = future[["unique_id", "ds", "price"]]
levers = {
    "20 % of stockout days averted": averted(0.2),
    "in stock on 95 % of days": service_level(0.95),
    "no stockouts at all": gone(),
}
gains = {
    name: gain_paths(demand, base, price=prices, margin=MARGIN, lever=lever)
    for name, lever in levers.items()
}
faster = shelf.paths(demand, future=covariates, lever=Replenishment(lead_time=1), seed=SEED)
gains["orders arrive the next day"] = gain_between(
    demand, base, faster, price=prices, margin=MARGIN
)
net = {name: net_gains(gain, recapture=RecapturePrior(), seed=SEED) for name, gain in gains.items()}
table = pd.DataFrame(
    [
        {"name": name, "gross_mean": float(gains[name]["value"].sum("unique_id").mean())}
        | portfolio(net[name]).iloc[0].to_dict()
        for name in gains
    ]
)
show(plots.lever_values(table))

# %% [markdown]
# ## Where to begin
#
# The ranking is by net value. P(rank ≤ 9) is the chance to be among the nine worth most once all is known; the driver says
# by which factor a row stands above the typical one.

# %%
lever = "20 % of stockout days averted"
ranking = explain(rank_gains(net[lever], k=9, static=future.drop_duplicates("unique_id")))
show(plots.ranking(ranking, 15, k=9))

# %%
columns = [
    "rank",
    "unique_id",
    "value_mean",
    "value_p10",
    "value_p90",
    "prob_top_k",
    "share_of_total",
    "driver",
]
ranking[columns].head(9).round(2)

# %% [markdown]
# ## Held against what came
#
# Demand is known here, so is what the lever would have gained on those very days (before recapture).

# %%
truth = true_gain(future, 0.2, margin=MARGIN)
total = portfolio(gains[lever]).iloc[0]
regret = top_k_regret(ranking, truth, 9).iloc[0]
print(
    f"all series: expected {total['value_mean']:.2f} (80 % band {total['value_p10']:.2f} to {total['value_p90']:.2f}), "
    f"in truth {truth['value'].sum():.2f}"
)
print(
    f"acting on the first 9 captures {1 - regret['regret_share']:.0%} of what the best 9 in hindsight would"
)
assert np.isfinite(ranking["value_mean"]).all()
