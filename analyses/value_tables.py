"""Numbers of `value_of_instock.py` as text and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.schema import DS, FLAG_KNOWN, ID, Y, parse_alias, stockout_days

if TYPE_CHECKING:
    from value_pricing import Results


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


def expected_by(scores: pd.DataFrame) -> str:
    """Where the bias to be expected comes from: "truth", the "model" itself, or nowhere."""
    bias = scores[scores["metric"] == "bias"]
    if bias.loc[bias["regime"] == "demand", "expected"].notna().any():
        return "truth"
    return "model" if bias["expected"].notna().any() else ""


def why(note: object) -> str:
    """The reason why a score is not printed, short enough for a cell."""
    return str(note).split(":")[0] or "undefined"


def cell(
    record: pd.Series | None,
    write: Callable[[float], str],
    *,
    ends: Callable[[float], str] | None = None,
) -> str:
    """Write a score: a reason in its place where it cannot be had, in doubt where not identified."""
    if record is None:
        return "–"
    value, lo, hi = (float(record[c]) for c in ("value", "lo", "hi"))
    if np.isnan(value):
        return why(record["note"])
    if np.isinf(value):
        return "∞"
    if not record["identified"]:
        return f"({write(value)})\u00a0†"
    if ends is None or np.isnan(lo) or np.isnan(hi):
        return write(value)
    # What the score is measured in need not be said three times.
    low, high = (ends(x).removesuffix("\u00a0%") for x in (lo, hi))
    return f"{write(value)} ({low}\u00a0to\u00a0{high})"


def doubts(scores: pd.DataFrame) -> list[str]:
    """Sentences for small print: what the marks and reasons in a table's cells mean."""
    flagged = scores[scores["cutoff"].isna() & ~scores["identified"].astype(bool)]
    out = []
    for note, part in flagged.groupby("note", sort=False, observed=True):
        value = part["value"].to_numpy(dtype=float)
        mark = "∞: " if np.isinf(value).all() else "" if np.isnan(value).all() else "†: "
        text = str(note).split("; score one step")[0]
        out.append(f"{mark}{text}.")
    # Shares of rows differ by model: one sentence of a kind is enough.
    kinds = {sentence.split("%")[-1]: sentence for sentence in reversed(out)}
    return list(reversed(kinds.values()))


def _by_model(scores: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    pooled = scores[scores["cutoff"].isna()]
    groups = pooled.groupby(["model", "treatment"], sort=False, observed=True)
    return [(str(m), str(t), part) for (m, t), part in groups]


def _record(
    part: pd.DataFrame, regime: str, metric: str, level: float | None = None
) -> pd.Series | None:
    """The pooled score of one model and treatment."""
    mine = part["regime"].eq(regime) & part["metric"].eq(metric)
    mine &= part["level"].isna() if level is None else part["level"].eq(level)
    return part[mine].iloc[0] if mine.any() else None


def _signed(value: float) -> str:
    return percent(value)


def _signed_end(value: float) -> str:
    return percent(value, 0)


def _plain(value: float) -> str:
    return percent(value, sign="")


def _plain_end(value: float) -> str:
    return percent(value, 0, sign="")


def _three(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def bias_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model and treatment, beside what a perfect forecast would show."""
    source, rows = expected_by(scores), []
    for model, treatment, part in _by_model(scores):
        bias = {r: _record(part, r, "bias") for r in _WORDS}
        bias = {r: b for r, b in bias.items() if b is not None}
        if source == "truth" and not rows:
            perfect = {_WORDS[r]: percent(b["expected"]) for r, b in bias.items()}
            rows.append({"model": "a perfect forecast", "treatment": "—"} | perfect)
        row = {"model": model, "treatment": treatment}
        for regime, b in bias.items():
            # Five columns with intervals do not fit the page; that of all days' sales matters least.
            bare = source == "model" and regime == "all_days"
            row[_WORDS[regime]] = cell(b, _signed, ends=None if bare else _signed_end)
            if source == "model" and regime != "demand":
                known = np.isfinite(b["expected"])
                row[f"expected {_WORDS[regime]}"] = percent(b["expected"]) if known else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def error_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, treatment and regime."""
    columns = {
        "RMSE": ("rmse", _three),
        "RMSSE": ("rmsse", _three),
        "WAPE": ("wape", _plain),
        "WAPE of totals": ("wape_total", _plain),
        "CRPS": ("crps", _three),
    }
    rows = []
    for model, treatment, part in _by_model(scores):
        for regime, word in _WORDS.items():
            if (part["regime"] == regime).any():
                row = {"model": model, "treatment": treatment, "scored on": word}
                for head, (metric, write) in columns.items():
                    row[head] = cell(_record(part, regime, metric), write)
                rows.append(row)
    return pd.DataFrame(rows)


def coverage_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model, treatment and level: nominal, expected and observed coverage."""
    rows = []
    levels = sorted(scores.loc[scores["metric"] == "coverage", "level"].dropna().unique())
    for model, treatment, part in _by_model(scores):
        for level in levels:
            found = {r: _record(part, r, "coverage", level) for r in _WORDS}
            row = {"model": model, "treatment": treatment, "nominal": f"{level:g}\u00a0%"}
            truth = found["demand"]
            if truth is not None:
                known = np.isfinite(truth["expected"])
                row["expected"] = _plain(truth["expected"]) if known else "–"
                row["of demand"] = cell(truth, _plain, ends=_plain_end)
            for regime in ("all_days", "in_stock"):
                if found[regime] is not None:
                    row[f"of sales {_WORDS[regime]}"] = cell(found[regime], _plain)
            rows.append(row)
    return pd.DataFrame(rows)


def bound_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per model and treatment: the scores of regime ``censored``, and what the truth says."""
    levels = sorted(scores.loc[scores["metric"] == "censored_pinball", "level"].dropna().unique())
    truth = bool((scores["regime"] == "demand").any())
    rows = []
    for model, treatment, part in _by_model(scores):
        row = {"model": model, "treatment": treatment}
        for head, metric in (
            ("localised CRPS", "localised_crps"),
            ("log score", "censored_log_score"),
        ):
            row[head] = cell(_record(part, "censored", metric), _three, ends=_three)
        for level in levels[:1]:
            pinball = _record(part, "censored", "censored_pinball", level)
            row[f"pinball {level:g}\u00a0%"] = cell(pinball, _three)
        if truth:
            row["CRPS of demand"] = cell(_record(part, "demand", "crps"), _three, ends=_three)
            row["bias"] = cell(_record(part, "demand", "bias"), _signed)
        rows.append(row)
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


def band(row: pd.Series, kind: str, write: Callable[[float], str]) -> str:
    """Write the 80 % band of a total, such as ``80 % band $1 to $2``."""
    return f"80\u00a0% band {write(row[f'{kind}_p10'])} to {write(row[f'{kind}_p90'])}"


def share_of(ranking: pd.DataFrame, k: int) -> float:
    """Share of the whole net value that the first k of a ranking hold; 0 where there is none."""
    total = ranking["value_mean"].sum()
    return float(ranking["value_mean"].iloc[:k].sum() / total) if total > 0 else 0.0
