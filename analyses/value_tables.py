"""Numbers of `value_of_instock.py` as text and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.schema import DS, FLAG_KNOWN, ID, Y, parse_alias, stockout_days

if TYPE_CHECKING:
    from value_of_instock import Results


def pooled(results: Results, alias: str, regime: str, metric: str) -> pd.Series | None:
    model, treatment = parse_alias(alias)
    scores = results.scores
    found = scores[
        (scores["model"] == model)
        & (scores["treatment"] == treatment)
        & (scores["regime"] == regime)
        & (scores["metric"] == metric)
        & scores["cutoff"].isna()
    ]
    return found.iloc[0] if len(found) else None


def percent(value: float, digits: int = 1, sign: str = "+") -> str:
    """Write a share in percent, kept on one line by no-break spaces."""
    if not np.isfinite(value):
        return "undefined"
    return f"{100 * value:{sign}.{digits}f}\u00a0%".replace("-", "−")


def money_in(config: dict) -> Callable[[float], str]:
    """How money is written: cents below a hundred, the currency's sign before it."""

    def money(value: float) -> str:
        return config["currency"] + (f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}")

    return money


def out_share(panel: pd.DataFrame) -> float:
    """Share of stockout days among the days whose status is known."""
    known = panel[FLAG_KNOWN].to_numpy() if FLAG_KNOWN in panel.columns else slice(None)
    return float(stockout_days(panel)[known].mean())


_WORDS = {"all_days": "all days", "in_stock": "in stock", "demand": "demand"}


def perfect_known(scores: pd.DataFrame) -> bool:
    return bool(scores.loc[scores["metric"] == "bias", "expected"].notna().any())


def _by_model(scores: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    pooled = scores[scores["cutoff"].isna()]
    groups = pooled.groupby(["model", "treatment"], sort=False, observed=True)
    return [(str(m), str(t), part) for (m, t), part in groups]


def bias_table(scores: pd.DataFrame, known: bool) -> pd.DataFrame:
    """One row per model and treatment; what a perfect forecast would show comes first."""
    rows = []
    for model, treatment, part in _by_model(scores):
        bias = part[part["metric"] == "bias"].set_index("regime")
        if known and not rows and bias["expected"].notna().any():
            rows.append(
                {"model": "a perfect forecast", "treatment": "—"}
                | {
                    word: percent(bias.at[regime, "expected"])
                    for regime, word in _WORDS.items()
                    if regime in bias.index
                }
            )
        row = {"model": model, "treatment": treatment}
        for regime, word in _WORDS.items():
            if regime in bias.index:
                b = bias.loc[regime]
                row[word] = (
                    f"{percent(b['value'])} ({percent(b['lo'], 0)} to\u00a0{percent(b['hi'], 0)})"
                )
        rows.append(row)
    return pd.DataFrame(rows)


def error_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, treatment and regime: errors, and the coverage of each level."""
    rows = []
    for model, treatment, part in _by_model(scores):
        for regime, word in _WORDS.items():
            mine = part[part["regime"] == regime]
            if mine.empty:
                continue
            point = mine[mine["level"].isna()].set_index("metric")["value"]
            cover = mine[mine["metric"] == "coverage"].set_index("level")["value"].sort_index()
            rows.append(
                {
                    "model": model,
                    "treatment": treatment,
                    "scored on": word,
                    "RMSE": f"{point['rmse']:.3f}" if np.isfinite(point["rmse"]) else "undefined",
                    "WAPE": percent(point["wape"], sign=""),
                    "of totals": percent(point["wape_total"], sign=""),
                }
                | {f"{k:g} % covers": percent(v, sign="") for k, v in cover.items()}
            )
    return pd.DataFrame(rows)


def examples(results: Results, n: int = 4) -> tuple[list[str], bool]:
    """Choose series with stockouts before the cutoff, from slow to fast; else any series."""
    cutoff = results.backtest.cutoffs[-1]
    recent = results.panel[
        (results.panel[DS] > cutoff - pd.Timedelta(days=120)) & (results.panel[DS] <= cutoff)
    ]
    table = pd.DataFrame(
        {
            "out": pd.Series(stockout_days(recent), index=recent.index)
            .groupby(recent[ID], observed=True)
            .mean(),
            "y": recent.groupby(recent[ID], observed=True)[Y].mean(),
        }
    )
    forecast = set(results.backtest.forecasts[results.chosen].frame[ID].astype(str))
    table = table[table.index.astype(str).isin(forecast)]
    hit = table[(table["out"] > 0.03) & (table["out"] < 0.6)]
    pool = (hit if len(hit) >= n else table).sort_values("y")
    at = np.unique((np.linspace(0.45, 0.995, n) * (len(pool) - 1)).astype(int))
    return [str(x) for x in pool.index[at]], len(hit) >= n
