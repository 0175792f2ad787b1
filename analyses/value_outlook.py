"""How likely stockouts are, in the report of `value_of_instock.py`: chances, and whether they held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from civstats import plots
from civstats.report import Report

if TYPE_CHECKING:
    from value_outages import Outages
    from value_pricing import Results


_DAYS = tuple(
    enumerate(("Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), start=1)
)


def outlook(report: Report, results: Results) -> None:
    """Write how stockouts were forecast, and how that fared on days held out."""
    found = results.outages
    report.subsection("How likely stockouts are")
    report.text(f"{_worlds(found)} {_logit(found, results)}")
    if not found.curves:
        return
    first = results.backtest.cutoffs[0]
    report.figure(
        plots.stockout_reliability(
            found.curves,
            subtitle=f"Days after {first:%d %b %Y}, held out when the models were fitted.",
        ),
        "reliability",
        "Of the days that were given a chance of so much, how many came out of stock. On the line the chances "
        "can be taken at their word.",
    )
    table = found.scores.assign(skill=1 - found.scores["brier"] / found.scores["usual"])
    report.table(
        table.drop(columns="usual"),
        "Chances of a stockout on days held out.",
        labels={
            "days": "series-days",
            "out": "out in truth",
            "said": "expected",
            "brier": "Brier score",
            "skill": "better than the usual share by",
        },
        formats={"out": "percent", "said": "percent", "brier": ".4f", "skill": "percent"},
        name="outages",
        note="Brier score: mean squared difference between chance and what came. Better than: against giving every day "
        "the share of days out before. Intervals of the figure are over days (one day ahead) and over series.",
    )
    _coefficients(report, found)


def _worlds(found: Outages) -> str:
    if found.base == "shelf":
        return (
            f"{found.why} So each shelf is walked on along every path of demand from the stock at the cutoff: a "
            "world of high demand empties its own shelves."
        )
    return (
        "Over the horizon each series goes out of stock and comes back as its own flags say (a two-state chain, shrunk "
        f"to its department's, more likely to run out on days of high expected demand). {found.why}"
    )


def _logit(found: Outages, results: Results) -> str:
    if found.skipped:
        return f"A day-ahead chance is not given. {found.skipped}"
    return (
        "One day ahead the chance comes from a logit on the last two days' flags, the share of the last 28 days out, "
        "last week's sales, weekday, promotion and expected demand (demand filter), with an effect per series that is "
        "shrunk to the others; parameters from the days up to the first cutoff, "
        f"{results.backtest.cutoffs[0]:%d %b %Y}. The chance of the horizon's first day is in ranking.csv "
        "(`out_tomorrow_mean`)."
    )


def _coefficients(report: Report, found: Outages) -> None:
    if found.coefficients is None:
        return
    kept = found.coefficients.drop("intercept")
    names = kept.index.to_series().replace(
        {f"weekday {k}": f"{day}, against Monday" for k, day in _DAYS}
    )
    table = pd.DataFrame({"regressor": names, "log odds": kept.to_numpy()})
    report.table(
        table,
        "The logit's coefficients: change of the log odds per unit of the regressor.",
        formats={"log odds": "+.2f"},
        max_rows=30,
        name="logit",
        note="Out on both: beside the two days' own effects. Recent sales and expected demand: log ratio to the series' "
        "level; level: its log.",
    )
