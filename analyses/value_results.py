"""The results in the report of `value_of_instock.py`: how good the forecasts are, by every yardstick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_gates import gates_section
from value_tables import (
    bias_table,
    bound_table,
    coverage_table,
    doubts,
    error_table,
    examples,
    expected_by,
)

from civstats import plots

if TYPE_CHECKING:
    from value_pricing import Results

    from civstats.report import Report


def results_section(report: Report, results: Results) -> None:
    report.section("Results")
    _bias(report, results)
    _errors(report, results)
    _bounds(report, results)
    _coverage(report, results)
    gates_section(report, results.backtest)
    _examples(report, results)


_EXPECTED = {
    "truth": "A perfect forecast is not unbiased on sales: its row holds the bias that the true mean "
    "demand shows on the same days.",
    "model": "A perfect forecast is not unbiased on sales. “Expected” is the bias there if the model were "
    "right, from its own joint draws of demand and stock: on in-stock days it is all selection, and what "
    "the bias is beyond it is error. It inherits the model's own faults; one that is too wide overstates "
    "it.",
    "": "A perfect forecast of demand need not be unbiased on sales: where high demand causes the "
    "stockout, in-stock days are low-demand days, and it looks too high on them.",
}


def _bias(report: Report, results: Results) -> None:
    scores = results.scores
    report.subsection("What the naive evaluation says, and what is true")
    report.figure(
        plots.naive_evaluation(scores), "naive-evaluation", plots.naive_evaluation_caption(scores)
    )
    known = bool((scores["regime"] == "demand").any())
    bias = scores[scores["metric"] == "bias"]
    note = _EXPECTED[expected_by(scores)]
    table = bias_table(scores)
    report.table(
        table,
        "Bias of the mean forecast, (forecast − outcome) / outcome, pooled over windows, with 95 % "
        "intervals" + (": the same forecasts judged three ways." if known else "."),
        # Each stands right of the bias it belongs to.
        labels={c: "expected" for c in table.columns if c.startswith("expected")},
        max_rows=60,
        name="bias",
        note=" ".join([note, *doubts(bias)]),
    )


def _errors(report: Report, results: Results) -> None:
    scores = results.scores
    report.subsection("All scores at a glance")
    report.figure(
        plots.score_heatmap(scores),
        "score-heatmap",
        "Scores by regime and metric; the darker, the nearer to the best of the column. Which forecast "
        "comes out best depends on what it is held against. Differences within the intervals of "
        "[scores.csv](scores.csv) decide nothing.",
    )
    errors = scores[scores["metric"].isin(["rmse", "rmsse", "wape", "wape_total", "crps"])]
    report.table(
        error_table(scores),
        "Errors, pooled over windows.",
        max_rows=100,
        name="errors",
        full="scores.csv",
        note=" ".join(
            [
                "RMSE in units a day and RMSSE (in units of the series' own day-to-day changes) with the "
                "mean; WAPE daily with the median, and on each series' window total with the mean; CRPS "
                "in units a day. Errors compare down a column, not across regimes: the outcomes differ.",
                *doubts(errors),
            ]
        ),
    )


def _bounds(report: Report, results: Results) -> None:
    found = results.one_step
    report.subsection("Scores that use stockout days for their bound")
    far = results.scores[results.scores["regime"] == "censored"]
    ahead = f"forecasts of {results.backtest.h} days"
    if len(far):
        text = (
            "A stockout day says that demand was at least what was sold, and a score can use just that. "
            "It is proper only where the stock is independent of demand given what was known. "
        )
        if far["value"].isna().all():
            text += (
                f"For {ahead} that need not be so: what is on the shelf then may follow demand after the "
                "cutoff, and a forecast that is too low can win. So these scores are taken one day ahead."
            )
        else:
            text += (
                "Here stockouts come at random, so it holds at any horizon: the scores of "
                f"{ahead} are in [@score-heatmap] and [scores.csv](scores.csv), those of one day below."
            )
        report.text(text)
    if found.skipped:
        report.text(f"**One day ahead, these scores are left out.** {found.skipped}")
        return
    assert found.scores is not None
    report.text(
        f"Each of the last {found.days} days is forecast from the day before: models are fitted up to "
        f"{found.first:%d %b %Y}, then their parameters are frozen and the history is updated daily."
    )
    mine = found.scores[found.scores["regime"] == "censored"]
    truth = bool((found.scores["regime"] == "demand").any())
    report.table(
        bound_table(found.scores),
        "One day ahead: scores in which a stockout day counts as a bound of demand (the smaller the "
        "better), with 95 % intervals"
        + (", beside CRPS and bias against true demand." if truth else "."),
        max_rows=60,
        name="bounds",
        full="scores_one_step.csv",
        note=" ".join(
            [
                "Localised CRPS: the CRPS below what could have been sold. Log score: −log P(sales), on a "
                "stockout day −log P(demand ≥ sales). Pinball: of the interval's ends, cut at the stock.",
                *doubts(mine),
            ]
        ),
    )
    what = "One day ahead, a stockout day counted as a bound"
    report.figure(
        plots.pit_plot(found.histogram, found.uniformity, what=what),
        "pit",
        "Is the whole distribution right? The randomised PIT of every day, u between F(y − 1) and F(y), on "
        "a stockout day between F(y − 1) and 1: uniform if the forecast is right, stockouts or not. "
        "P-values allow for days that series share.",
    )
    report.figure(
        plots.calibration_plot(found.curve, what=what),
        "calibration",
        "Do intervals of every level hold? Observed less nominal coverage, from the same PIT.",
    )


def _coverage(report: Report, results: Results) -> None:
    scores = results.scores
    report.subsection("Do the intervals cover?")
    told = bool(scores.loc[scores["metric"] == "coverage", "expected"].notna().any())
    report.figure(
        plots.coverage(scores),
        "coverage",
        "Share of outcomes inside the prediction intervals. Counts are discrete, so an honest 80 % "
        "interval covers more than 80 % of slow-moving demand"
        + ("; ticks mark what each model itself expects of its own intervals. " if told else ". ")
        + "Where high demand causes the stockout, in-stock days are low-demand days, and coverage on them "
        "is too flattering.",
    )
    report.table(
        coverage_table(scores),
        "Coverage: nominal, what the model itself expects of its intervals (counts are discrete), and "
        "observed, of demand with 95 % intervals."
        if told
        else "Coverage: nominal and observed.",
        max_rows=100,
        name="intervals",
        full="scores.csv",
        note=" ".join(doubts(scores[scores["metric"] == "coverage"])),
    )


def _examples(report: Report, results: Results) -> None:
    report.subsection("What the forecasts look like")
    chosen, hit = examples(results)
    level = 80.0 if 80.0 in results.backtest.level else results.backtest.level[0]
    report.figure(
        plots.example_series(
            results.panel,
            results.backtest.frame,
            chosen,
            results.chosen,
            level=level,
            cutoff=results.backtest.cutoffs[-1],
        ),
        "examples",
        f"{'Series that stockouts hit' if hit else 'Series'}, from slow to fast, with {level:g} % bands "
        f"of {results.chosen}; stockout days are marked.",
    )
