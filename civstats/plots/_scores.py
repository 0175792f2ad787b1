"""What the figures read from the score frame: one pooled score per model, treatment and regime."""

from __future__ import annotations

import pandas as pd

from civstats.schema import CUTOFF, REGIMES, SCORES, CivstatsError


def pooled(scores: pd.DataFrame, metric: str, level: float | None = None) -> pd.DataFrame:
    """Return the pooled scores of a metric (and interval level), one row per model, treatment, regime.

    Raises
    ------
    CivstatsError
        If columns are missing, nothing matches, or a score stands there twice.
    """
    missing = [c for c in SCORES if c not in scores.columns]
    if missing:
        raise CivstatsError(f"the score frame lacks column(s) {', '.join(missing)}")
    chosen = scores["metric"].eq(metric) & scores[CUTOFF].isna()
    if level is not None:
        chosen &= scores["level"].eq(level)
    frame = scores[chosen].copy()
    if frame.empty:
        found = ", ".join(sorted(map(str, scores["metric"].unique())))
        raise CivstatsError(
            f"no pooled score of {metric!r}{f' at level {level:g}' if level else ''}; "
            f"the frame holds {found or 'nothing'} (pooled rows have no cutoff)"
        )
    for column in ("model", "treatment", "regime"):
        frame[column] = frame[column].astype(str)
    for column in ("value", "lo", "hi", "expected"):
        frame[column] = frame[column].astype(float)
    twice = frame.duplicated(["model", "treatment", "regime"])
    if twice.any():
        first = frame[twice].iloc[0]
        raise CivstatsError(
            f"{int(twice.sum())} pooled score(s) of {metric!r} stand there twice, first "
            f"{first['model']} {first['treatment']} {first['regime']}; name a level or drop repeats"
        )
    return frame.reset_index(drop=True)


def by_regime(frame: pd.DataFrame, index: str | list[str], column: str) -> pd.DataFrame:
    """Spread a column over the regimes: a row per `index`, in order of appearance."""
    keyed = frame.set_index(index)
    table = {r: keyed.loc[keyed["regime"] == r, column] for r in REGIMES}
    return pd.DataFrame(table, index=keyed.index.unique(), dtype=float)
