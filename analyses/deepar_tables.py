"""Tables and sentences of `deepar_ablation.py`: each claim comes from an interval or two tests."""

from __future__ import annotations

import pandas as pd
from deepar_fits import NEURAL, Row
from deepar_scores import DEMAND_REGIME, Scores

from civstats.report import format_number, interval_text

BIAS_TARGET, COVERAGE_TARGET, CRPS_TARGET = 0.05, 0.03, 0.05
CENSORED_ROW = "DeepAR_censor"
REGIMES = {"all_days": "sales, all days", "in_stock": "sales, in stock", "demand": "true demand"}


def pooled(scores: pd.DataFrame, metric: str, regime: str = DEMAND_REGIME) -> pd.DataFrame:
    """Return the pooled rows of one score, by column of the forecast."""
    part = scores[
        (scores["metric"] == metric) & (scores["regime"] == regime) & scores["cutoff"].isna()
    ]
    return part.set_index(part["model"].astype(str) + "_" + part["treatment"].astype(str))


def score_table(found: Scores, rows: list[Row]) -> pd.DataFrame:
    """Write bias, WAPE and CRPS, a row per model."""
    out = {"model": [r.label for r in rows]}
    names = [r.column for r in rows]
    for metric, head, form in (
        ("bias", "bias", "percent"),
        ("wape", "WAPE", ".3f"),
        ("crps", "CRPS", ".3f"),
    ):
        part = pooled(found.scores, metric).loc[names]
        out[head] = interval_text(part["value"], part["lo"], part["hi"], form)
    table = pd.DataFrame(out)
    beyond = 100 * found.gaps.set_index("column").loc[names, ["beyond", "beyond_lo", "beyond_hi"]]
    texts = interval_text(beyond["beyond"], beyond["beyond_lo"], beyond["beyond_hi"], ".1f")
    shown = [t if known else "–" for t, known in zip(texts, beyond["beyond"].notna(), strict=True)]
    table.insert(2, "less the twin on demand, points", shown)
    return table


def real_table(found: Scores, rows: list[Row]) -> pd.DataFrame:
    """Write the CRPS in every regime, a row per model."""
    out = {"model": [r.label for r in rows]}
    for regime, words in REGIMES.items():
        part = pooled(found.scores, "crps", regime).loc[[r.column for r in rows]]
        out[words] = interval_text(part["value"], part["lo"], part["hi"], ".3f")
    return pd.DataFrame(out)


def coverage_table(gaps: pd.DataFrame) -> pd.DataFrame:
    """Write coverage, what was to be expected, and how far it is from the truth's."""
    out = pd.DataFrame({"model": gaps["label"]})
    out["observed"] = interval_text(
        gaps["coverage"], gaps["coverage_lo"], gaps["coverage_hi"], "percent"
    )
    out["own"] = [format_number(float(v), "percent") for v in gaps["own"]]
    if gaps["expected"].notna().any():
        for name, head in (("gap", "less the truth's expected"), ("excess", "less the truth's")):
            values = (100 * gaps[c] for c in (name, f"{name}_lo", f"{name}_hi"))
            out[head] = interval_text(*values, ".1f")
    return out


def verdict(name: str, gaps: pd.DataFrame) -> str:
    """Hold DeepAR under censor against both targets.

    Examples
    --------
    >>> row = {"column": "DeepAR_censor", "bias": 0.01, "bias_lo": -0.02, "bias_hi": 0.03}
    >>> row |= {"gap": 0.04, "gap_lo": 0.02, "gap_hi": 0.06, "expected": 0.84, "coverage": 0.88}
    >>> verdict("inventory", pd.DataFrame([row])).split(": ", 1)[1][:62]
    "DeepAR under censor has a bias of 1.0 % (−2.0 to 3.0 %), withi"
    """
    row = gaps.set_index("column").loc[CENSORED_ROW]
    bias = interval_text([row["bias"]], [row["bias_lo"]], [row["bias_hi"]], "percent")[0]
    gap = interval_text([100 * row["gap"]], [100 * row["gap_lo"]], [100 * row["gap_hi"]], ".1f")[0]
    return (
        f"{name[:1].upper() + name[1:]}: DeepAR under censor has a bias of {bias}, "
        f"{_held(row, 'bias', BIAS_TARGET, '5 %')}; its interval covers "
        f"{format_number(float(row['coverage']), 'percent')} of demand where the true distribution "
        f"expects {format_number(float(row['expected']), 'percent')}, a gap of {gap} points, "
        f"{_held(row, 'gap', COVERAGE_TARGET, '3 points')}."
    )


def _held(row: pd.Series, name: str, target: float, words: str) -> str:
    ends = max(abs(float(row[f"{name}_lo"])), abs(float(row[f"{name}_hi"])))
    if abs(float(row[name])) >= target:
        return f"which misses the target of {words}"
    if ends < target:
        return f"within {words}, as is its whole interval"
    return f"within {words}, though its interval reaches beyond"


def order_text(gaps: pd.DataFrame, scores: pd.DataFrame, rows: list[Row]) -> str:
    """Write the order of DeepAR's rows by CRPS and by distance from no bias, whatever it is."""
    ours = [r for r in rows if r.kind == NEURAL]
    crps = pooled(scores, "crps")["value"].astype(float)
    bias = gaps.set_index("column")["bias"].astype(float)
    by_crps = sorted(ours, key=lambda r: crps[r.column])
    by_bias = sorted(ours, key=lambda r: abs(bias[r.column]))
    first = ", ".join(f"{r.label} ({format_number(crps[r.column], '.3f')})" for r in by_crps)
    second = ", ".join(f"{r.label} ({format_number(bias[r.column], 'percent')})" for r in by_bias)
    return (
        f"DeepAR by CRPS of demand, lowest first: {first}. By distance of the bias from zero: "
        f"{second}. Neighbours in these lists may be apart by chance; what is decided comes below."
    )


def decided(pairs: pd.DataFrame, rows: list[Row]) -> str:
    """Say which pairs the two tests decide by CRPS of demand."""
    names = {r.column: r.label for r in rows}
    wins: dict[str, list[str]] = {}
    part = pairs[(pairs["metric"] == "crps") & (pairs["regime"] == DEMAND_REGIME)]
    won = part["better"].fillna("").astype(str)
    for a, b, better in zip(part["a"], part["b"], won, strict=True):
        if better:
            wins.setdefault(better, []).append(names[b if better == a else a])
    if not wins:
        return f"Of {len(part)} pairs, the two tests decide none by CRPS of demand."
    lines = [
        f"- {names[name]} is lower than {', '.join(losers)}."
        for name, losers in sorted(wins.items(), key=lambda x: -len(x[1]))
    ]
    n = sum(map(len, wins.values()))
    return (
        f"Of {len(part)} pairs, both tests decide {n} by CRPS of demand; the rest have no winner.\n\n"
        + "\n".join(lines)
    )


def real_verdict(found: Scores) -> str:
    """Hold DeepAR under censor against the seasonal naive and LightGBM in every regime."""
    lines = []
    for regime, words in REGIMES.items():
        crps = pooled(found.scores, "crps", regime)["value"].astype(float)
        part = found.pairs[(found.pairs["metric"] == "crps") & (found.pairs["regime"] == regime)]
        told = []
        for rival, name in (
            ("SeasonalNaive_ignore", "the seasonal naive"),
            ("LightGBM_censor", "LightGBM under censor"),
        ):
            ratio = float(crps[CENSORED_ROW] / crps[rival] - 1)
            told.append(
                f"{format_number(abs(ratio), 'percent')} {'below' if ratio < 0 else 'above'} {name} "
                f"({_decision(part, rival)})"
            )
        value = format_number(float(crps[CENSORED_ROW]), ".3f")
        lines.append(f"{words}: {value}, {' and '.join(told)}")
    return f"CRPS of DeepAR under censor, {'; '.join(lines)}."


def _decision(pairs: pd.DataFrame, rival: str) -> str:
    both = {CENSORED_ROW, rival}
    row = pairs[pairs["a"].isin(both) & pairs["b"].isin(both)]
    better = str(row["better"].iloc[0]) if len(row) and pd.notna(row["better"].iloc[0]) else ""
    return "decided" if better not in ("", "nan") else "not decided"
