"""Tables of `value_study.py`: coverage against what the model expects, totals, rankings, chances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from value_study_fits import SHELF, Found
from value_study_worlds import WANTED

from civstats.value import reliability

MARGIN = 0.03
"""How far coverage over series and departments may lie from what the model itself expects."""
LEVEL = 0.8
PLURAL = {"series": "series", "department": "departments"}
CELL = ["rate", "model", "treatment", "availability", "estimand"]
_NORMAL = 1.96


@dataclass(frozen=True)
class Shown:
    """What the study found.

    Attributes
    ----------
    coverage : pandas.DataFrame
        Per cell, level and measure: coverage observed and expected by the model, the gap between
        them with an interval over replications, and the bias of the mean.
    totals : pandas.DataFrame
        Per cell and measure: in how many replications the portfolio lies inside its interval, and
        between which numbers that is no surprise.
    top, paired : pandas.DataFrame
        Precision and regret of the top k, and what ``censor`` gains over other treatments.
    chances : pandas.DataFrame
        How often what had a chance of p to be in the top k was.
    worlds : pandas.DataFrame
        Means over replications.
    """

    coverage: pd.DataFrame
    totals: pd.DataFrame
    top: pd.DataFrame
    paired: pd.DataFrame
    chances: pd.DataFrame
    worlds: pd.DataFrame

    @classmethod
    def of(cls, found: Found) -> Shown:
        """Sum up what tasks found."""
        return cls(
            coverage_frame(found.held),
            total_frame(found.held),
            top_frame(found.top),
            paired_frame(found.top),
            chance_frame(found.chances),
            found.worlds.drop(columns=["seed", "model", "treatment"])
            .groupby("rate", as_index=False)
            .mean(),
        )

    def files(self) -> dict[str, pd.DataFrame]:
        """Return the tables by the name of their file."""
        return {
            "coverage": self.coverage,
            "totals": self.totals,
            "top_k": self.top,
            "top_k_paired": self.paired,
            "chances": self.chances,
            "worlds": self.worlds,
        }


def mean_of(x: np.ndarray) -> tuple[float, float, float]:
    """Return a mean over replications and its 95 % interval; no interval for one replication."""
    mean, n = float(np.mean(x)), len(x)
    half = _NORMAL * float(np.std(x, ddof=1)) / np.sqrt(n) if n > 1 else np.nan
    return mean, mean - half, mean + half


def ratio_of(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float, float]:
    """Return a ratio of sums over replications and its 95 % interval (delta method)."""
    total = float(np.sum(bottom))
    if total == 0:
        return np.nan, np.nan, np.nan
    value, n = float(np.sum(top)) / total, len(top)
    rest = np.asarray(top, float) - value * np.asarray(bottom, float)
    half = _NORMAL * np.sqrt(np.square(rest).sum() * n / max(n - 1, 1)) / total
    return value, value - (half if n > 1 else np.nan), value + (half if n > 1 else np.nan)


def surprise_band(n: int) -> tuple[int, int]:
    """Return between which counts of `n` an 80 % interval is inside its own 95 % interval.

    Examples
    --------
    >>> surprise_band(200), surprise_band(20)
    ((149, 171), (12, 19))
    """
    half = _NORMAL * np.sqrt(n * LEVEL * (1 - LEVEL))
    return round(n * LEVEL - half), int(n * LEVEL + half)


def coverage_frame(held: pd.DataFrame) -> pd.DataFrame:
    """Average coverage over series and over departments; a replication is a cluster."""
    keys = [*CELL, "level", "measure"]
    parts = held[held["level"] != "portfolio"]
    sums = (
        parts.assign(inside=parts["inside"].astype(float), n=1)
        .groupby([*keys, "seed"], sort=False, observed=True)[
            ["inside", "expected", "truth", "mean", "n"]
        ]
        .sum()
        .reset_index()
    )
    rows = []
    for key, part in sums.groupby(keys, sort=False, observed=True):
        n = part["n"].to_numpy(float)
        inside, expected = (part[c].to_numpy(float) for c in ("inside", "expected"))
        gap, lo, hi = ratio_of(inside - expected, n)
        bias, bias_lo, bias_hi = ratio_of(
            part["mean"].to_numpy() - part["truth"].to_numpy(), part["truth"].to_numpy()
        )
        rows.append(
            dict(zip(keys, key, strict=True))
            | {
                "replications": len(part),
                "n": int(n.sum()),
                "observed": inside.sum() / n.sum(),
                "expected": expected.sum() / n.sum(),
                "gap": gap,
                "gap_lo": lo,
                "gap_hi": hi,
                "holds": bool(abs(gap) <= MARGIN),
                "bias": bias,
                "bias_lo": bias_lo,
                "bias_hi": bias_hi,
            }
        )
    return pd.DataFrame(rows)


def total_frame(held: pd.DataFrame) -> pd.DataFrame:
    """Count the replications whose portfolio lies inside its interval."""
    whole = held[held["level"] == "portfolio"]
    rows = []
    for key, part in whole.groupby([*CELL, "measure"], sort=False, observed=True):
        n, inside = len(part), int(part["inside"].sum())
        low, high = surprise_band(n)
        truth, told = part["truth"].to_numpy(float), part["mean"].to_numpy(float)
        bias, lo, hi = ratio_of(told - truth, truth)
        rows.append(
            dict(zip([*CELL, "measure"], key, strict=True))
            | {
                "replications": n,
                "inside": inside,
                "least": low,
                "most": high,
                "holds": low <= inside <= high,
                "below": int((truth < part["lo"].to_numpy() - 1e-6).sum()),
                "above": int((truth > part["hi"].to_numpy() + 1e-6).sum()),
                "truth": truth.mean(),
                "bias": bias,
                "bias_lo": lo,
                "bias_hi": hi,
                "sd_told": float(part["sd"].mean()),
                "sd_of_error": float(np.std(truth - told)),
            }
        )
    return pd.DataFrame(rows)


def top_frame(top: pd.DataFrame) -> pd.DataFrame:
    """Average precision, and the share of the best top k's gain that acting on the told one forgoes."""
    rows = []
    for key, part in top.groupby(CELL, sort=False, observed=True):
        precision = mean_of(part["precision"].to_numpy(float))
        regret = ratio_of(part["regret"].to_numpy(float), part["best"].to_numpy(float))
        rows.append(
            dict(zip(CELL, key, strict=True))
            | {"k": int(part["k"].iloc[0]), "replications": len(part)}
            | _named("precision", precision)
            | _named("regret", regret)
        )
    return pd.DataFrame(rows)


def paired_frame(top: pd.DataFrame) -> pd.DataFrame:
    """Compare ``censor`` with the other treatments on the same replications."""
    keys = [c for c in CELL if c != "treatment"]
    rows = []
    for key, part in top.groupby(keys, sort=False, observed=True):
        by = {t: x.set_index("seed") for t, x in part.groupby("treatment", observed=True)}
        for other in sorted(set(by) - {"censor"}):
            if "censor" not in by:
                continue
            seeds = by["censor"].index.intersection(by[other].index)
            ours, theirs = by["censor"].loc[seeds], by[other].loc[seeds]
            more = mean_of((ours["precision"] - theirs["precision"]).to_numpy(float))
            less = ratio_of(
                (ours["regret"] - theirs["regret"]).to_numpy(float), ours["best"].to_numpy(float)
            )
            rows.append(
                dict(zip(keys, key, strict=True))
                | {"against": other, "replications": len(seeds)}
                | _named("precision", more)
                | _named("regret", less)
            )
    return pd.DataFrame(rows)


def chance_frame(chances: pd.DataFrame) -> pd.DataFrame:
    """Hold chances against what came, bin by bin; a replication is a cluster."""
    rows = []
    for key, part in chances.groupby(CELL, sort=False, observed=True):
        table = reliability(
            part["probability"].to_numpy(float).clip(0, 1),
            part["outcome"].to_numpy(float),
            edges=(0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1),
            cluster=part["seed"].to_numpy(),
        )
        rows.append(table.assign(**dict(zip(CELL, key, strict=True))))
    table = pd.concat(rows, ignore_index=True)
    return table[[*CELL, "lo", "hi", "n", "expected", "observed", "half"]]


def claims(shown: Shown) -> pd.DataFrame:
    """Return the claims that were made before the run, a row per model under ``censor``.

    Columns: ``claim, model, within, cells, worst, where``; a cell is a rate and an estimand, and for
    coverage a level. Gains are those of the shelf; what lies within is told for units and value.
    """
    rows = []
    cover = shown.coverage[claimed(shown.coverage)]
    for (model, level), part in cover.groupby(["model", "level"], sort=False, observed=True):
        far = part.iloc[int(part["gap"].abs().to_numpy().argmax())]
        rows.append(
            {
                "claim": f"80 % intervals over {PLURAL[level]}",
                "model": model,
                "within": int(part["holds"].sum()),
                "cells": len(part),
                "worst": f"{100 * far['gap']:+.1f} points ({100 * far['gap_lo']:+.1f} to "
                f"{100 * far['gap_hi']:+.1f})",
                "where": _where(far),
            }
        )
    totals = shown.totals[claimed(shown.totals)]
    for model, part in totals.groupby("model", sort=False, observed=True):
        middle = (part["least"] + part["most"]) / 2
        far = part.iloc[int((part["inside"] - middle).abs().to_numpy().argmax())]
        rows.append(
            {
                "claim": "portfolio inside its 80 % interval",
                "model": model,
                "within": int(part["holds"].sum()),
                "cells": len(part),
                "worst": f"{far['inside']} of {far['replications']} ({far['least']} to {far['most']})",
                "where": _where(far),
            }
        )
    return pd.DataFrame(rows)


def claimed(table: pd.DataFrame) -> pd.Series:
    """Mark what claims are about: stockouts as bounds, shelves where there is something ahead."""
    return (
        table["treatment"].eq("censor")
        & table["availability"].isin([SHELF, ""])
        & table["estimand"].ne(WANTED)
    )


def _where(row: pd.Series) -> str:
    return f"{row['estimand']}, {row['measure']}, {row['rate']:.0%} out"


def _named(name: str, estimate: tuple[float, float, float]) -> dict[str, float]:
    return {name: estimate[0], f"{name}_lo": estimate[1], f"{name}_hi": estimate[2]}
