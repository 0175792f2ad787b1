"""The columns of the heat map of scores: a metric in a regime each, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.plots._scores import pooled
from civstats.plots._style import REGIME_LABEL, number
from civstats.schema import CUTOFF, REGIMES, CivstatsError

METRICS = ("bias", "rmse", "wape", "crps", "localised_crps", "censored_log_score")
"""What is drawn unless told otherwise, as far as the frame holds it."""
SHARES = {"bias", "wape", "wape_total", "coverage"}
"""Metrics that are written in percent."""
_WORDS = {
    "bias": "bias", "rmse": "RMSE", "wape": "WAPE", "wape_total": "WAPE of totals",
    "mase": "MASE", "rmsse": "RMSSE", "crps": "CRPS", "log_score": "log score",
    "coverage": "coverage", "winkler": "Winkler", "pinball": "pinball",
    "localised_crps": "localised CRPS", "censored_log_score": "log score",
    "censored_pinball": "pinball",
}  # fmt: skip
_TARGETS = {"bias", "coverage"}
_BY_LEVEL = {"coverage", "winkler", "pinball", "censored_pinball"}


@dataclass(frozen=True)
class Column:
    """One metric in one regime, a row per model and treatment."""

    regime: str
    metric: str
    frame: pd.DataFrame
    head: str

    def cell(self, key: tuple[str, str]) -> pd.Series | None:
        """The score of a model and treatment, None if it has no row."""
        at = self.frame.index.get_indexer(pd.MultiIndex.from_tuples([key]))[0]
        return None if at < 0 else self.frame.iloc[at]

    @property
    def void(self) -> str:
        """Why no row has this score, empty if one has."""
        if self.frame["value"].notna().any():
            return ""
        heads = list(dict.fromkeys(str(n).split(":")[0] for n in self.frame["note"]))
        return heads[0] or "undefined"

    def distance(self) -> pd.Series:
        """How far each score is from the lowest, or from what is to be expected; NaN if unknown."""
        value = self.frame["value"].where(self.frame["identified"].astype(bool))
        if self.metric in _TARGETS:
            aim = self.frame["expected"]
            # Of counts nobody knows what the nominal level should cover; of bias, that it is zero.
            if self.regime == "demand" and self.metric == "bias":
                aim = aim.fillna(0.0)
            return (value - aim).abs()
        lowest = value[np.isfinite(value)].min()
        return value / lowest - 1 if lowest > 0 else value * np.nan


def read_columns(
    scores: pd.DataFrame,
    metrics: Sequence[str] | None,
    level: float | None,
    regimes: Sequence[str] | None,
) -> list[Column]:
    """Read the columns that a frame of scores holds; see `score_heatmap`."""
    wanted = list(METRICS if metrics is None else metrics)
    top = scores[scores[CUTOFF].isna()] if CUTOFF in scores.columns else scores
    have = set(zip(top.get("regime", []), top.get("metric", []), strict=True))
    levels = sorted(float(x) for x in top["level"].dropna().unique()) if "level" in top else []
    at = levels[0] if level is None and levels else level
    found = []
    for regime in regimes or [r for r in REGIMES if any(r == x for x, _ in have)]:
        for metric in (m for m in wanted if (regime, m) in have):
            by_level = metric in _BY_LEVEL
            frame = pooled(top[top["regime"] == regime], metric, at if by_level else None)
            head = _WORDS.get(metric, metric) + (f" {at:g} %" if by_level else "")
            found.append(Column(regime, metric, frame.set_index(["model", "treatment"]), head))
    if not found:
        known = ", ".join(sorted({str(m) for _, m in have})) or "nothing"
        raise CivstatsError(
            f"the score frame holds none of {', '.join(wanted)} in {', '.join(regimes or REGIMES)}; "
            f"it holds {known}"
        )
    return found


def regimes_of(columns: list[Column]) -> list[str]:
    """The regimes, in order."""
    return list(dict.fromkeys(c.regime for c in columns))


def nearest_row(column: Column) -> tuple[str, str] | None:
    """The model and treatment that scores lowest, or nearest to what is to be expected, if several do."""
    distance = column.distance()
    known = distance[np.isfinite(distance)]
    if len(known) < 2:
        return None
    model, treatment = known.index[int(known.to_numpy().argmin())]
    return str(model), str(treatment)


def headline(columns: list[Column], keys: list[tuple[str, str]]) -> str:
    """Say whether the regimes prefer the same forecast, by the errors that several of them have."""
    regimes = regimes_of(columns)
    other = "demand" if "demand" in regimes else "in_stock"
    losses = [c for c in columns if c.metric not in _TARGETS]
    best = {(c.regime, c.metric): nearest_row(c) for c in losses}
    pairs = {
        c.head: (best["all_days", c.metric], best[other, c.metric])
        for c in losses
        if c.regime == "all_days" and best.get((other, c.metric)) and best[c.regime, c.metric]
    }
    if not pairs:
        return "Scores by regime and metric" if len(keys) > 1 else f"Scores of {' '.join(keys[0])}"
    against = "true demand" if other == "demand" else "in-stock days"
    apart = [head for head, (a, b) in pairs.items() if a != b]
    lead = "the forecast that scores lowest on all days' sales is"
    if not apart:
        return f"By every score they share, {lead} lowest on {against} too"
    which = " and ".join(apart) if len(apart) < 3 else ", ".join(apart)
    return f"By {which}, {lead} not the lowest on {against}"


def in_words(columns: list[Column], title: str) -> str:
    """Say the table for those who cannot see it: what is lowest in each column, what is in doubt."""
    parts = [f"{title}."]
    for column in columns:
        where = f"{column.head} on {REGIME_LABEL.get(column.regime, column.regime)}"
        if column.void:
            parts.append(f"{where}: {column.void}.")
            continue
        best, doubtful = nearest_row(column), ~column.frame["identified"].astype(bool)
        if best is not None:
            record = column.cell(best)
            assert record is not None
            at = number(
                float(record["value"]),
                percent=column.metric in SHARES,
                signed=column.metric == "bias",
            )
            which = "nearest to expected" if column.metric in _TARGETS else "lowest"
            parts.append(f"{where}: {which} {' '.join(best)} ({at}).")
        if doubtful.any():
            parts.append(f"{where}: {int(doubtful.sum())} not identified or not available.")
    parts.append("The lowest is not thereby shown to be better.")
    return " ".join(parts)
