"""The part of `score_study.py`'s report on trained models: coverage, gaps, and whose word agrees."""

from __future__ import annotations

import numpy as np
import pandas as pd
from score_models import LEVEL, NEAR, PAIRS, Trained
from score_words import REGIMES, words

from civstats.plots import score_heatmap
from civstats.report import Report, format_number, interval_text
from civstats.schema import SCORES, parse_alias

ALLOWED = 0.03
"""How far the coverage of demand may be from what the model expects of itself."""
JUDGE = ("crps", "demand")
"""What nobody has but a simulation: the CRPS of demand."""


def trained_models(report: Report, found: Trained, config: dict) -> None:
    """Write the section."""
    report.section("Trained models")
    series = found.panel["unique_id"].cat.categories.size
    rate = format_number(float(found.panel["is_censored"].mean()), "percent")
    report.text(
        f"LightGBM and the local level, each ignoring, masking and censoring stockout days, on the "
        f"default synthetic panel: {series} series, {config['panel_days']} days, inventory stockouts "
        f"on {rate} of them. {config['windows']} windows of {config['h']} days, and the last "
        f"{config['near_days']} days one day ahead; parameters are those of the first cutoff, "
        "history goes on. Intervals resample series and weeks."
    )
    report.subsection("Coverage of demand")
    _coverage(report, found.coverage)
    report.subsection("Gaps between models")
    near = found.scores[found.scores["horizon"] == NEAR]
    report.figure(
        score_heatmap(
            near[list(SCORES)], ["bias", "rmse", "crps", "localised_crps", "censored_log_score"]
        ),
        "trained_scores",
        "Scores of the trained models, one day ahead.",
    )
    table = agreement(found.pairs)
    report.table(
        table.assign(
            days=[REGIMES[r] for r in table["regime"]], score=[words(m) for m in table["metric"]]
        )[["horizon", "score", "days", "order", "same", "opposite", "undecided"]],
        "What a score says of pairs of models, against the CRPS of true demand.",
        name="agreement",
        labels={
            "order": "same order, all pairs",
            "same": "of the pairs decided on demand: same winner",
            "opposite": "other winner",
            "undecided": "no winner",
        },
        note="Same order: which of two has the lower score, whether or not that means anything. A "
        "pair is decided where two-way bootstrap and Diebold-Mariano test agree, adjusted for the "
        "number of pairs (Holm). Days that one window forecasts are resampled together.",
    )
    report.text(conclusion(table))
    for horizon in PAIRS:
        report.table(
            gaps(found.pairs[found.pairs["horizon"] == horizon]),
            f"Treatments of one model, {horizon}: score of the first less the second's.",
            name="gaps_near" if horizon == NEAR else "gaps_far",
            note="Intervals hold for all pairs of a score together. *: decided by both tests.",
            full="differences.csv",
        )


def _coverage(report: Report, coverage: pd.DataFrame) -> None:
    points = coverage[["gap", "gap_lo", "gap_hi"]] * 100
    shown = coverage[["horizon", "model", "treatment"]].assign(
        observed=interval_text(coverage["observed"], coverage["lo"], coverage["hi"], "percent"),
        expected=coverage["expected"],
        gap=interval_text(points["gap"], points["gap_lo"], points["gap_hi"], ".1f"),
    )
    report.table(
        shown,
        f"Share of days on which the {LEVEL:g} % interval holds true demand.",
        name="trained_coverage",
        formats={"expected": "percent"},
        labels={"gap": "observed less expected, points"},
        note="Expected: what the model's own distributions give its intervals; counts are discrete, so "
        f"that it is more than {LEVEL:g} %. The interval of the gap resamples both sides together.",
    )
    report.text(coverage_verdict(coverage))


def coverage_verdict(coverage: pd.DataFrame) -> str:
    """Say whether LightGBM under censor covers demand as it expects to.

    Examples
    --------
    >>> row = {"horizon": "28 days ahead", "model": "LightGBM", "treatment": "censor", "gap": 0.01}
    >>> coverage_verdict(pd.DataFrame([row | {"gap_lo": -0.01, "gap_hi": 0.02, "n": 9}]))[:57]
    '28 days ahead, LightGBM under censor covers demand 1.0 po'
    """
    lines = []
    part = coverage[(coverage["model"] == "LightGBM") & (coverage["treatment"] == "censor")]
    for _, row in part.iterrows():
        side = "more" if row["gap"] >= 0 else "less"
        inside = abs(row["gap"]) <= ALLOWED
        sure = max(abs(row["gap_lo"]), abs(row["gap_hi"])) <= ALLOWED
        verdict = "within" if inside else "beyond"
        whole = "as is its whole interval" if sure else "though its interval reaches beyond it"
        if not inside:
            whole = "the target is missed"
        lines.append(
            f"{str(row['horizon']).capitalize()}, LightGBM under censor covers demand {100 * abs(row['gap']):.1f} "
            f"points {side} often than it expects "
            f"({format_number(100 * row['gap_lo'], '.1f')} to "
            f"{format_number(100 * row['gap_hi'], '.1f')}, {int(row['n']):,} series-days): {verdict} "
            f"{100 * ALLOWED:.0f} points, {whole}."
        )
    return " ".join(lines)


def agreement(pairs: pd.DataFrame) -> pd.DataFrame:
    """Hold what each score says of all pairs against what the CRPS of demand says.

    Returns
    -------
    pandas.DataFrame
        ``horizon, regime, metric, order, same, opposite, undecided``: `order` is how many pairs
        have the same one of the two ahead, of how many; the others count pairs that the CRPS
        of demand decides.
    """
    records = []
    for horizon, shown in PAIRS.items():
        part = pairs[pairs["horizon"] == horizon]
        judge = part[(part["metric"] == JUDGE[0]) & (part["regime"] == JUDGE[1])]
        judge = judge.set_index(["a", "b"])
        truth = judge.loc[judge["better"] != "", "better"]
        for metric, regime in shown:
            mine = part[(part["metric"] == metric) & (part["regime"] == regime)]
            mine = mine.set_index(["a", "b"]).reindex(judge.index)
            says = mine["better"].reindex(truth.index).fillna("")
            agreed = np.sign(mine["difference"]) == np.sign(judge["difference"])
            records.append(
                {
                    "horizon": horizon,
                    "regime": regime,
                    "metric": metric,
                    "order": f"{int(agreed.sum())} of {len(judge)}",
                    "same": int((says == truth).sum()),
                    "opposite": int(((says != truth) & (says != "")).sum()),
                    "undecided": int((says == "").sum()),
                }
            )
    return pd.DataFrame(records)


def conclusion(table: pd.DataFrame) -> str:
    """Say which scores name the same better model as the CRPS of demand, and which the other."""
    lines = []
    for horizon, part in table.groupby("horizon", sort=False):
        others = part[part["regime"] != "demand"]
        n = int(part.loc[part["regime"] == "demand", "same"].iloc[0])
        start = str(horizon).capitalize()
        if not n:
            lines.append(f"{start}, the CRPS of demand decides no pair.")
            continue
        told = "; ".join(
            f"{words(m)} ({REGIMES[r]}) names the same winner for {s}, the other for {o}"
            for m, r, s, o in zip(
                others["metric"], others["regime"], others["same"], others["opposite"], strict=True
            )
        )
        lines.append(f"{start}, the CRPS of demand decides {n} pair(s). Of these, {told}.")
    return "\n\n".join(lines)


def gaps(pairs: pd.DataFrame) -> pd.DataFrame:
    """Write the differences between treatments of one model: a row a pair, a column a score."""
    first, second = ([parse_alias(x) for x in pairs[c]] for c in ("a", "b"))
    same = np.array([x[0] == y[0] for x, y in zip(first, second, strict=True)])
    texts = interval_text(pairs["difference"], pairs["lo"], pairs["hi"], ".3f")
    marks = ["*" if b else "" for b in pairs["better"]]
    table = pd.DataFrame(
        {
            "pair": [f"{x[0]}, {x[1]} less {y[1]}" for x, y in zip(first, second, strict=True)],
            "score": [
                f"{words(m)}, {REGIMES[r]}"
                for m, r in zip(pairs["metric"], pairs["regime"], strict=True)
            ],
            "text": [t + m for t, m in zip(texts, marks, strict=True)],
        }
    )[same]
    wide = table.pivot_table(
        index="pair", columns="score", values="text", aggfunc="first", sort=False
    )
    return wide.reset_index()
