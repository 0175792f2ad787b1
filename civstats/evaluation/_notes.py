"""What stands against a score, and what is to be known of it: the texts of the score frame's notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from civstats.evaluation._rows import per_cutoff
from civstats.schema import Y

if TYPE_CHECKING:
    from civstats.evaluation.metric import Metric
    from civstats.evaluation.scoring import Scorer

HEAVY = 0.5
"""Share of stockout days above which scores of the mean are flagged: sales do not identify it."""
UNSEEN = 0.05
"""Share of quantiles at or above what was ever stocked, above which a censored pinball is flagged."""
SOME = 0.05
"""Share of stockout days from which a score of sales is said not to be one of demand."""
ODD = 0.01
"""Share of days on which availability and demand contradict each other from which that is said."""
SALES = {
    "all_days": "scores sales, not demand: {:.0%} of days out",
    "in_stock": "scores in-stock days alone, {:.0%} of days out: where demand makes the stockouts "
    "these are its low days",
}
"""What a plain score of a regime of sales is not."""


def caution(
    scorer: Scorer, name: str, regime: str, metric: Metric, level: float | None
) -> np.ndarray:
    """Return why a score's target is not identified, empty where it is, (1 + n_cutoffs,)."""
    rows = scorer.rows[regime]
    if metric.rewards_mean and rows.regime.target == Y:
        text = "not identified: {:.0%} of the days are stockouts, sales do not tell the mean"
        return _where(scorer.share_out, HEAVY, text)
    if metric.kind == "censored" and metric.by_level:
        share = per_cutoff(
            scorer.n_cutoffs,
            rows.cutoff,
            (rows.of(scorer.read(name, "hi", level)) >= rows.of(scorer.most_stocked)).astype(float),
            np.ones(len(rows.actual)),
        )
        text = "not identified: {:.0%} of the quantiles reach what was ever stocked, or more"
        return _where(share, UNSEEN, text)
    return np.full(1 + scorer.n_cutoffs, "", dtype=object)


def caveat(scorer: Scorer, regime: str, metric: Metric) -> np.ndarray:
    """Return what a score of sales does not say of demand, empty where it does, (1 + n_cutoffs,)."""
    if regime not in SALES or metric.name == "width":
        return np.full(1 + scorer.n_cutoffs, "", dtype=object)
    out = _where(scorer.share_out, SOME, SALES[regime])
    if metric.rewards_mean:
        # There the caution says it.
        out[scorer.share_out > HEAVY] = ""
    return out


def remarks(scorer: Scorer, name: str, regime: str, metric: Metric) -> np.ndarray:
    """Return what is to be known of a score whose target is identified, (1 + n_cutoffs,).

    Its caveat, what its expected figure is worth, rows without a scale, and unequal windows.
    """
    parts = [caveat(scorer, regime, metric), _unscaled(scorer, regime, metric)]
    text = (
        "expected is rough: on {:.0%} of the days the availability and the demand given do not fit, "
        "days out alone would take more than all demand"
    )
    parts += [_where(_at_odds(scorer, name, regime, metric), ODD, text), scorer.window_remarks]
    return join(*parts)


def join(*parts: np.ndarray) -> np.ndarray:
    """Put several arrays of texts together, with semicolons."""
    rows = zip(*parts, strict=True)
    return np.array(["; ".join(x for x in row if x) for row in rows], dtype=object)


def _where(share: np.ndarray, above: float, text: str) -> np.ndarray:
    return np.array([text.format(s) if s > above else "" for s in share], dtype=object)


def _at_odds(scorer: Scorer, name: str, regime: str, metric: Metric) -> np.ndarray:
    """Return the share of days on which what `expected` rests on does not fit, NaN without."""
    known = scorer.rows[regime].mean is not None
    if metric.name != "bias" or known or regime not in SALES or not scorer.availability:
        return np.full(1 + scorer.n_cutoffs, np.nan)
    odd = scorer.expected_sales(name)[-1].astype(float)
    return per_cutoff(scorer.n_cutoffs, scorer.aligned.cutoff, odd, np.ones(len(odd)))


def _unscaled(scorer: Scorer, regime: str, metric: Metric) -> np.ndarray:
    """Count the windows without a scale, which the score leaves out."""
    out = np.full(1 + scorer.n_cutoffs, "", dtype=object)
    if metric.scaled_by is None:
        return out
    rows = scorer.rows[regime]
    bare = np.unique(rows.window[~np.isfinite(scorer.scale(regime, metric.scaled_by))])
    by_cutoff = np.bincount(bare % scorer.n_cutoffs, minlength=scorer.n_cutoffs)
    for k, n in enumerate(np.r_[by_cutoff.sum(), by_cutoff]):
        out[k] = unscaled(int(n))
    return out


def unscaled(n: int) -> str:
    """Say how many windows have no scale, nothing if none."""
    return f"{n} window(s) left out: no change before the cutoff to scale by" if n else ""
