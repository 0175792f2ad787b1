"""From sums over worlds to the score frame of `filter_study.py`, its claims and its rank tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from filter_worlds import LEVELS, ORACLE, PLANTED, RANK_DRAWS, SALES, Key, Sums

from civstats.demand_filter.calibration import chi_square
from civstats.evaluation.recovery import Estimate, pool, ratio
from civstats.schema import SCORES

DAYS = {"all_days": "n", "censored": "n_short", "out": "n_out"}
"""Regimes of days and the sums that count them."""
RANK_BINS = 16
MEAN_MARGIN, COVER_MARGIN = 0.01, 0.02
"""What is claimed: the bias of demand, and how far coverage may be from its level."""


def score_frame(sums: Mapping[Key, Sequence[Sums]]) -> pd.DataFrame:
    """Return every figure with its interval: ``world, rate`` and the columns of a score frame.

    Metrics: ``mean_ratio``, estimated over true mean demand; ``mean_over_oracle``, the same over
    what the filter says with demand known, replicate by replicate; ``demand_ratio``, recovered over
    true demand, and ``lost_ratio``, over true lost units; ``coverage`` of the level's bands;
    ``recovered_coverage`` of the bands of recovered demand, ``expected`` as the model's own draws
    say, and ``recovered_excess``, the difference of the two; ``share`` of days.
    """
    records: list[dict] = []
    total = {key: {name: pool(w, name) for name in w[0]} for key, w in sums.items()}

    def add(
        key: Key, regime: str, metric: str, found: Estimate, level: float = np.nan,
        expected: float = np.nan,
    ) -> None:  # fmt: skip
        world, rate, treatment = key
        n = int(total[world, rate, "censor"][DAYS[regime]][0])
        records.append(
            {
                "world": world, "rate": rate, "model": "DemandFilter", "treatment": treatment,
                "regime": regime, "metric": metric, "level": level, "value": found.value,
                "lo": found.lo, "hi": found.hi, "n": n, "expected": expected,
                "identified": found.identified,
            }
        )  # fmt: skip

    for key, t in total.items():
        world, rate, treatment = key
        add(key, "all_days", "mean_ratio", ratio(t["level"], t["mean"]), expected=1)
        if treatment == "censor":
            known = total[world, rate, ORACLE]["level"]
            add(key, "all_days", "mean_over_oracle", ratio(t["level"], known), expected=1)
        if treatment in ("mask", "censor"):
            short = ratio(t["recovered_short"], t["demand_short"])
            add(key, "all_days", "demand_ratio", ratio(t["recovered"], t["demand"]), expected=1)
            add(key, "censored", "demand_ratio", short, expected=1)
            add(key, "censored", "lost_ratio", ratio(t["lost"], t["truly_lost"]), expected=1)
        if treatment == "censor":
            sold = (world, rate, SALES)
            add(sold, "all_days", "mean_ratio", ratio(t["sales"], t["demand"]), expected=1)
            for regime in ("censored", "out"):
                add(sold, regime, "share", ratio(t[DAYS[regime]], t["n"]))
        for k in LEVELS:
            for regime, n in DAYS.items():
                found = ratio(t[f"level_{k}_{n}"], t[n])
                add(key, regime, "coverage", found, k, k / 100)
            if treatment == "censor":
                expected = float(t[f"expected_{k}"][0] / t["n_short"][0])
                found = ratio(t[f"recovered_{k}"], t["n_short"])
                add(key, "censored", "recovered_coverage", found, k, expected)
                gap = _difference(t[f"recovered_{k}"] - t[f"expected_{k}"], t["n_short"])
                add(key, "censored", "recovered_excess", gap, k, 0.0)
    columns = ["world", "rate", *SCORES]
    return pd.DataFrame(records).reindex(columns=columns).assign(cutoff=pd.NaT, note="")


def _difference(top: np.ndarray, bottom: np.ndarray) -> Estimate:
    """Divide a sum that may be negative."""
    found = ratio(top + bottom, bottom)
    return Estimate(found.value - 1, found.lo - 1, found.hi - 1)


def claims(scores: pd.DataFrame) -> pd.DataFrame:
    """Hold what is claimed of ``censor`` against the scores, world by world.

    Returns
    -------
    pandas.DataFrame
        ``claim, world, margin, worst, where, lo, hi, cells, within, sure``: the cell whose value is
        farthest off, how many cells there are, in how many the value is within the margin, and in
        how many the whole interval is.
    """
    asked = [
        ("mean demand, over that with demand known", "mean_over_oracle", None, MEAN_MARGIN),
        ("recovered over true demand, all days", "demand_ratio", "all_days", MEAN_MARGIN),
        ("level's bands, all days", "coverage", "all_days", COVER_MARGIN),
        ("level's bands, stockout days", "coverage", "censored", COVER_MARGIN),
        ("level's bands, days wholly out", "coverage", "out", COVER_MARGIN),
        ("recovered demand's bands, over expected", "recovered_excess", None, COVER_MARGIN),
    ]
    rows = []
    mine = scores[scores["treatment"] == "censor"]
    for world in dict.fromkeys(mine["world"]):
        for claim, metric, regime, margin in asked:
            part = mine[(mine["world"] == world) & (mine["metric"] == metric)]
            part = part if regime is None else part[part["regime"] == regime]
            off = (part["value"] - part["expected"]).abs()
            sure = (part["lo"] >= part["expected"] - margin) & (
                part["hi"] <= part["expected"] + margin
            )
            worst = part.loc[off.idxmax()]
            level = "" if np.isnan(worst["level"]) else f", {worst['level']:g} % bands"
            rows.append(
                {
                    "claim": claim, "world": world, "margin": margin,
                    "worst": worst["value"] - worst["expected"],
                    "where": f"{100 * worst['rate']:g} % of days{level}",
                    "lo": worst["lo"] - worst["expected"], "hi": worst["hi"] - worst["expected"],
                    "cells": len(part), "within": int((off <= margin).sum()),
                    "sure": int(sure.sum()),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def rank_tests(ranks: pd.DataFrame) -> pd.DataFrame:
    """Return ``family, quantity, n, mean, p_value`` of ranks and their counts, ``bin_01`` on."""
    rows = []
    for (family, quantity), part in ranks.groupby(["family", "quantity"], sort=False)["rank"]:
        rank = part.to_numpy().astype(int)
        counts = np.bincount(rank * RANK_BINS // (RANK_DRAWS + 1), minlength=RANK_BINS)
        rows.append(
            {
                "family": family,
                "quantity": quantity,
                "n": len(rank),
                "mean": float(rank.mean() / RANK_DRAWS),
                "p_value": chi_square(rank, RANK_DRAWS, RANK_BINS),
                **{f"bin_{k + 1:02d}": int(c) for k, c in enumerate(counts)},
            }
        )
    return pd.DataFrame(rows)


def smallest(tests: pd.DataFrame) -> tuple[float, float, int]:
    """Return the smallest p-value of the models as they are, that of all together, and their number.

    Together: the chance of one as small or smaller among as many independent tests (Sidak, 1967).
    """
    p = tests.loc[tests["family"] != PLANTED, "p_value"]
    return float(p.min()), float(-np.expm1(len(p) * np.log1p(-min(p.min(), 1 - 1e-12)))), len(p)
