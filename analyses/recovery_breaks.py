"""What breaks the censored likelihood: each assumption violated, a little and a lot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import (
    CENSORED,
    DEMAND,
    DEMAND_MEAN,
    ID,
    IN_STOCK_SHARE,
    STOCK,
    CivstatsError,
    Y,
    validate_panel,
)
from civstats.stockouts.simulate import simulate_stockouts

_SIZE = 2.0
"""Dispersion that the informed buyer believes in."""


@dataclass(frozen=True)
class Break:
    """One assumption and how it is violated.

    Attributes
    ----------
    title : str
        Of its curve.
    axis : str
        What the severity says.
    severities : tuple of float
        In the order in which they are run.
    label : callable
        From a severity to its tick.
    meaning : str
        What the curve says to a user.
    """

    title: str
    axis: str
    severities: tuple[float, ...]
    label: Callable[[float], str]
    meaning: str


def _percent(x: float) -> str:
    return f"{100 * x:.0f} %"


def _knowledge(x: float) -> str:
    return "past" if x < 0 else "mean" if x == 0 else f"+{100 * x:.0f} %"


def _factor(x: float) -> str:
    return "Poisson" if np.isinf(x) else f"×{x:g}"


BREAKS: dict[str, Break] = {
    "dispersion": Break(
        "Dispersion taken as given, and wrong",
        "given dispersion / estimated one",
        (1.0, 0.25, 0.5, 2.0, 4.0, np.inf),
        _factor,
        "A dispersion that is too small sees a heavy tail beyond every bound and recovers too much; "
        "one that is too large, and the Poisson at its end, recovers too little. Estimate it, as "
        "LightGBM does by itself",
    ),
    "missed": Break(
        "Stockout days without their flag",
        "share of stockout days unflagged",
        (0.0, 0.05, 0.10, 0.20),
        _percent,
        "An unflagged stockout is a day of low demand to any method, as every stockout is to "
        "*ignore*: the forecast slides towards that of *ignore*, and faster than in proportion",
    ),
    "false": Break(
        "In-stock days with a flag",
        "share of in-stock days flagged",
        (0.0, 0.05, 0.10, 0.20),
        _percent,
        "A false flag says of an ordinary day that demand was at least its sales, when it was its "
        "sales: the forecast rises. A day without a sale that is flagged says nothing and is lost, "
        "which lifts it too",
    ),
    "unrecorded": Break(
        "Sales of stockout days not recorded",
        "share of stockout days that read 0",
        (0.0, 0.25, 0.5, 1.0),
        _percent,
        "With flags but no record of what sold before the shelf ran empty, the bound is 0 and says "
        "nothing. The days drop out, and they were the busy ones: at the end of the curve *censor* "
        "is *mask*",
    ),
    "insider": Break(
        "Stock set by someone who knows more",
        "what the buyer knows of the day (the past, its true mean, a part of its surprise)",
        (-1.0, 0.0, 0.25, 0.5),
        _knowledge,
        "The buyer stocks a quantile of what he expects of the very day, from the past alone, from "
        "the day's true mean (shocks included), or from a part of its surprise beyond that. Knowing "
        "the mean, the stock says of demand hardly more than the covariates do. Foreseeing the "
        "surprise, he stocks much when much will be asked for: a high bound then speaks of a high "
        "demand twice, and the likelihood, which takes stock to be independent of demand given the "
        "covariates, recovers too much",
    ),
    "clock": Break(
        "Part-day outages flagged as sold out",
        "share of days with an outage",
        (0.05, 0.15, 0.30, 0.45),
        _percent,
        "A shelf shut by the clock lost a share of the day, not the demand beyond a stock. Its sales "
        "as a bound make the days look like shelves that sold out",
    ),
    "clock_share": Break(
        "The same outages by their share of the day",
        "share of days with an outage",
        (0.05, 0.15, 0.30, 0.45),
        _percent,
        "The same outages with `in_stock_share` instead of a flag: the likelihood of a share of the "
        "day's demand, which is the right one",
    ),
}

CLOCK = ("clock", "clock_share")
"""Outages by the clock: their severity is the rate."""


def broken(
    demand: pd.DataFrame, kind: str, severity: float, *, rate: float, seed: int
) -> pd.DataFrame:
    """Return a panel with stockouts in which one assumption fails.

    Parameters
    ----------
    demand : pandas.DataFrame
        The world without stockouts.
    kind : str
        A name in `BREAKS`; ``dispersion`` leaves the panel as it is, the fault is in the model.
    severity : float
    rate : float
        Share of days with a stockout; for outages by the clock the severity is the rate.
    seed : int
    """
    if kind not in BREAKS:
        raise CivstatsError(f"kind must be one of {', '.join(BREAKS)}, but got {kind!r}")
    rng = np.random.default_rng([seed, 77])
    if kind in CLOCK:
        panel = simulate_stockouts(demand, mechanism="part_day", rate=severity, seed=seed)
        if kind == "clock_share":
            return panel
        out = panel[IN_STOCK_SHARE] < 1
        return _reflagged(panel.drop(columns=IN_STOCK_SHARE), out.to_numpy())
    if kind == "insider":
        return _insider(demand, severity, rate, rng)
    panel = simulate_stockouts(demand, mechanism="inventory", rate=rate, seed=seed)
    if kind == "dispersion":
        return panel
    flag = panel[CENSORED].to_numpy()
    # One uniform a row, whatever the severity: a worse world holds the errors of a better one.
    hit = rng.random(len(panel)) < severity
    if kind == "missed":
        return _reflagged(panel, flag & ~hit)
    if kind == "false":
        return _reflagged(panel, flag | hit)
    lost = panel.assign(**{Y: panel[Y].where(~(flag & hit), 0).astype(np.float32)})
    return _reflagged(lost, flag)


def _reflagged(panel: pd.DataFrame, flag: np.ndarray) -> pd.DataFrame:
    """Replace the flags; a stock that contradicts them would be refused."""
    return validate_panel(panel.drop(columns=STOCK, errors="ignore").assign(**{CENSORED: flag}))


def _insider(
    demand: pd.DataFrame, severity: float, rate: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Set stock to a random quantile of demand about what the buyer expects of the very day.

    That is done on as many days, drawn at random, as give the rate; the others have plenty.
    """
    from scipy import stats

    d = demand[DEMAND if DEMAND in demand.columns else Y].to_numpy(dtype=float)
    expected = _usual(demand, d, shift=1, days=28)
    if severity >= 0:
        mean = (
            demand[DEMAND_MEAN].to_numpy(dtype=float)
            if DEMAND_MEAN in demand.columns
            else _usual(demand, d, shift=-3, days=7)
        )
        expected = np.maximum(mean, 1e-3) ** (1 - severity) * np.maximum(d, 0.1) ** severity
    expected = np.maximum(expected, 1e-3)
    stock = stats.nbinom.ppf(rng.random(len(d)), _SIZE, _SIZE / (_SIZE + expected))
    short = d >= stock
    if short.mean() < rate:
        raise CivstatsError(
            f"an informed buyer runs short on {short.mean():.0%} of days at most; ask for a rate "
            f"below that, not {rate:.0%}"
        )
    stock = np.where(rng.random(len(d)) < rate / short.mean(), stock, np.nan).astype(np.float32)
    columns = {DEMAND: d.astype(np.float32), Y: np.fmin(d, stock).astype(np.float32)}
    return validate_panel(demand.assign(**columns, **{STOCK: stock, CENSORED: d >= stock}))


def _usual(demand: pd.DataFrame, d: np.ndarray, *, shift: int, days: int) -> np.ndarray:
    """Mean demand of the item over a stretch of days that ends `shift` days before."""
    by = pd.Series(d, index=demand.index).groupby(demand[ID], observed=True)
    mean = by.transform(lambda x: x.shift(shift).rolling(days, min_periods=1).mean())
    overall = by.transform("mean")
    return mean.fillna(overall).to_numpy()
