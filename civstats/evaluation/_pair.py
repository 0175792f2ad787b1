"""One pair of forecasts: their scores, the two tests of the difference, and what stands against them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize, stats

from civstats.evaluation._daily import DailyParts, DailyScorer
from civstats.evaluation._dm import MIN_PERIODS, DieboldMariano, diebold_mariano
from civstats.evaluation._notes import SALES, caution, caveat
from civstats.evaluation.metric import Metric
from civstats.evaluation.scoring import Scorer
from civstats.schema import CENSORED, IN_STOCK_SHARE, CivstatsError, Y, stockout_days

DISTANCES = ("bias", "coverage")
"""Metrics with a target of their own: the forecast that is nearer to it is the better one."""
_ROUNDING = 1e-12
_MIN_DRAWS = 100


class Entry:
    """One forecast's score: its value, replicates, daily parts, and why it cannot be compared."""

    def __init__(
        self,
        scorer: Scorer,
        daily: DailyScorer,
        panel: pd.DataFrame,
        name: str,
        regime: str,
        metric: Metric,
        level: float | None,
    ) -> None:
        self.value = np.nan
        self.draws = np.full(1 + scorer.bootstrap.n_boot, np.nan)
        self.parts: DailyParts | None = None
        self.caution = ""
        self.caveat = str(caveat(scorer, regime, metric)[0])
        self.reason = scorer.obstacle(name, regime, metric)
        if self.reason:
            return
        draws = scorer.replicates(name, regime, metric, level)[:, 0]
        self.value = float(draws[0])
        if not np.isfinite(self.value):
            self.reason = (
                "an outcome of probability 0" if self.value == np.inf else "the score is undefined"
            )
            return
        self.caution = doubt(scorer, name, regime, metric, level)
        parts = daily.parts(name, regime, metric, level)
        if metric.name in DISTANCES:
            target = _target(scorer, panel, name, regime, metric, level)
            side = 1.0 if draws[0] >= target else -1.0
            draws = np.abs(draws - target)
            parts = DailyParts(parts.losses, parts.bottoms, side * parts.pull)
        self.draws, self.parts = draws, parts


def doubt(scorer: Scorer, name: str, regime: str, metric: Metric, level: float | None) -> str:
    """Return why no winner may be named by a score, empty where one may."""
    text = str(caution(scorer, name, regime, metric, level)[0])
    known = scorer.rows[regime].mean is not None
    if metric.name == "bias" and not known and regime in SALES and scorer.availability:
        # A forecast that is too high expects more selection, and would be excused by it.
        text = join_words(
            text,
            "what a perfect forecast would show rests on the model's own demand and on the "
            "availability: no ground to rank by",
        )
    return text


def join_words(*parts: str) -> str:
    """Put notes together, with semicolons."""
    return "; ".join(x for x in parts if x)


def _target(
    scorer: Scorer,
    panel: pd.DataFrame,
    name: str,
    regime: str,
    metric: Metric,
    level: float | None,
) -> float:
    """Return what a perfect forecast would score."""
    expected = float(scorer.expected(name, regime, metric, level)[0])
    if np.isfinite(expected):
        return expected
    if metric.name == "coverage":
        raise CivstatsError(
            f"the coverage that {name} expects of its own intervals is not known, and for counts it "
            "is not the nominal level: pass the forecasts' distributions as predictive, in regime "
            "demand, or compare winkler or pinball"
        )
    if scorer.rows[regime].regime.target == Y:
        flags = panel[[c for c in (CENSORED, IN_STOCK_SHARE) if c in panel.columns]]
        out = stockout_days(flags.take(scorer.aligned.position))
        if out.any():
            raise CivstatsError(
                f"{int(out.sum())} of the forecast days are stockouts, so a perfect forecast's bias in "
                f"regime {regime} is not 0: pass availability, or compare in regime demand"
            )
    return 0.0


@dataclass
class Outcome:
    """The tests of one pair, not yet adjusted.

    Attributes
    ----------
    error, share : float
        Standard error of the difference, and the share of its square that blocks of days make.
    df_days, df_series : int
        Degrees of freedom of that share and of the rest.
    alone : bool
        Whether the bootstrap decides alone.
    barred : bool
        Whether no winner may be named, whatever the tests say.
    """

    value_a: float
    value_b: float
    difference: float
    n_days: int
    error: float = np.nan
    share: float = np.nan
    df_days: int = 0
    df_series: int = 0
    p: float = np.nan
    dm: float = np.nan
    p_dm: float = np.nan
    alone: bool = False
    barred: bool = True
    note: str = ""
    caveat: str = ""


def compare_pair(
    a: Entry, b: Entry, metric: Metric, count: np.ndarray, h: int, n_groups: int, block: int
) -> Outcome:
    """Test the difference between two forecasts, see `pairwise`.

    Parameters
    ----------
    a, b : Entry
    metric : Metric
    count : numpy.ndarray, shape (n_days,)
        Rows of each scored day.
    h : int
        Horizon, periods.
    n_groups : int
        Groups of series that are resampled.
    block : int
        Days that are resampled together.
    """
    gap = a.draws - b.draws
    out = Outcome(a.value, b.value, float(gap[0]), int((count > 0).sum()))
    out.note, out.caveat = a.reason or b.reason, a.caveat
    if a.parts is None or b.parts is None:
        return out
    notes = [x for x in dict.fromkeys((a.caution, b.caution)) if x]
    out.barred = bool(notes)
    pull = a.parts.pull - b.parts.pull
    n_blocks = -(-len(pull) // block)
    out.df_days, out.df_series = n_blocks - 1, n_groups - 1
    out.error, out.share = _standard_error(gap[1:], pull, n_groups, block)
    scale = _ROUNDING * (abs(a.value) + abs(b.value))
    if np.isnan(out.error):
        notes.append(
            f"all {len(pull)} scored days in one block of {block}: one draw tells nothing"
            if n_blocks < 2
            else "the score is undefined in most replicates"
        )
    elif out.error <= scale:
        # Forecasts that are the same are not different; a certain difference has no test.
        out.p = 1.0 if abs(gap[0]) <= scale else np.nan
    else:
        ratio = abs(float(gap[0])) / out.error
        out.p = _p_value(ratio, out.share, out.df_days, out.df_series)
    if metric.name in DISTANCES or metric.unit == "window":
        out.alone = True
        notes.append("no Diebold-Mariano test: not a mean of daily losses")
    else:
        dm = _diebold_mariano(a.parts, b.parts, count, h)
        if isinstance(dm, str):
            notes.append(dm)
        else:
            out.dm, out.p_dm = dm.statistic, dm.p_value
    out.note = "; ".join(notes)
    return out


def _standard_error(
    draws: np.ndarray, pull: np.ndarray, n_groups: int, block: int
) -> tuple[float, float]:
    """Return the standard error of a difference, and the days' share of its square."""
    by_block = np.add.reduceat(pull, np.arange(0, len(pull), block))
    n_blocks = len(by_block)
    draws = draws[np.isfinite(draws)]
    if n_blocks < 2 or len(draws) < _MIN_DRAWS:
        return np.nan, np.nan
    days = n_blocks / (n_blocks - 1) * float(np.square(by_block).sum())
    variance = float(draws.var(ddof=1)) + days / n_blocks
    # One series cannot be resampled: all that varies is days.
    share = min(1.0, days / variance) if n_groups > 1 and variance > 0 else 1.0
    return float(np.sqrt(variance)), share


def reach(p: float, share: float, df_days: int, df_series: int) -> float:
    """Return how many standard errors a difference exceeds with probability p or less.

    Banerjee (1960): the root of the mean of the squared t quantiles of the parts, weighted by their
    variances. It errs on the safe side, which Satterthwaite's degrees of freedom do not where a
    part of few degrees of freedom comes out small by chance.

    Parameters
    ----------
    p : float
        Two-sided.
    share : float
        Of the variance, with `df_days` degrees of freedom; the rest has `df_series`.

    Examples
    --------
    >>> [round(reach(0.05, w, 2, 29), 2) for w in (0.0, 0.5, 1.0)]
    [2.05, 3.37, 4.3]
    """
    squares = share * stats.t.isf(p / 2, df_days) ** 2
    if share < 1:
        squares += (1 - share) * stats.t.isf(p / 2, df_series) ** 2
    return float(np.sqrt(squares))


def _p_value(ratio: float, share: float, df_days: int, df_series: int) -> float:
    """Return the p at which the difference is just as many standard errors as it may reach."""

    def beyond(log_p: float) -> float:
        return reach(float(np.exp(log_p)), share, df_days, df_series) - ratio

    least = float(np.log(1e-100))
    if ratio == 0:
        return 1.0
    if beyond(least) <= 0:
        return 1e-100
    return float(np.exp(optimize.brentq(beyond, least, 0.0, xtol=1e-12)))


def _diebold_mariano(
    a: DailyParts, b: DailyParts, count: np.ndarray, h: int
) -> DieboldMariano | str:
    """Test the daily losses, or say why not."""
    held = count > 0
    n = int(held.sum())
    if n < max(MIN_PERIODS, 2 * h):
        return f"no Diebold-Mariano test: {n} days for a horizon of {h}"
    scale = n / a.bottoms.sum()
    loss_a, loss_b = (scale * x.losses[held] for x in (a, b))
    wide = min(max(2 * h, int(np.ceil(1.3 * np.sqrt(n)))), n // 2)
    try:
        return diebold_mariano(loss_a, loss_b, h=wide, kernel="bartlett")
    except CivstatsError:
        return "no Diebold-Mariano test: the losses differ by the same every day"
