"""Where to begin, in the report of `value_of_instock.py`: the ranking, its curve, what drives its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_tables import share_of

from civstats import plots
from civstats.report import Report
from civstats.schema import ID

if TYPE_CHECKING:
    from value_pricing import Results

SHOWN = 50
_DRIVERS = {
    "demand": "it sells much",
    "stockouts": "it is out often",
    "price": "a unit is worth much",
    "uncertainty": "what it loses comes on its big days",
}


def where_to_begin(report: Report, results: Results, config: dict) -> None:
    """Write the ranking by net value."""
    ranking, k = results.ranking, config["top"]
    report.subsection("Where to begin")
    held = share_of(ranking, k)
    report.text(
        f"Series in order of the net value that “{results.choice.title}” has in each. The first {k} hold "
        f"{100 * held:.0f} % of the whole. A series' own figure is uncertain, since few of its days will be out: "
        f"P(top {k}) is the chance that it is among the {k} worth most once all is known, and a cut-off drawn in "
        "the middle of near ties means little."
        if held > 0
        else "No series is worth more than the lever costs, on average."
    )
    report.figure(
        plots.ranking(
            ranking,
            top=min(20, len(ranking)),
            period=f"{config['h']} days",
            k=k,
            currency=config["currency"],
        ),
        "ranking",
        "What the lever is worth, series by series, net: mean and the band from p10 to p90 of the sum over "
        "days (from joint paths; sums of daily quantiles would be far too wide). Units are before recapture.",
    )
    report.figure(
        plots.cumulative_value(
            results.curve, k, currency=config["currency"], period=f"{config['h']} days"
        ),
        "cumulative",
        "How much more the next series adds: where the curve bends, acting on more of them stops paying.",
    )
    _table(report, results, config)
    _drivers(report, results, config)


def _table(report: Report, results: Results, config: dict) -> None:
    k = config["top"]
    columns = {
        "rank": "rank",
        ID: "series",
        "value_mean": "net",
        "value_p10": "p10",
        "value_p90": "p90",
        "prob_top_k": f"P(top {k})",
        "share_of_total": "share",
        "cumulative_share": "so far",
        "driver": "driver",
        "stockout_probability": "days out",
    }
    if "return_mean" in results.ranking:
        columns["return_mean"] = "return"
    formats = dict.fromkeys(("value_mean", "value_p10", "value_p90"), "money")
    formats |= dict.fromkeys(("share_of_total", "stockout_probability", "return_mean"), "percent")
    formats |= {"prob_top_k": "share", "cumulative_share": "share"}
    report.table(
        results.ranking[list(columns)],
        f"The first of the ranking: net value in {config['h']} days.",
        labels=columns,
        formats={c: f for c, f in formats.items() if c in columns},
        max_rows=SHOWN,
        full="ranking.csv",
        name="top",
        note="Share: of all net value; so far: of this row and those above. Days out: expected share of the "
        "horizon. [planner.csv](planner.csv) holds all rows under plain headings.",
    )


def _drivers(report: Report, results: Results, config: dict) -> None:
    top = results.ranking["driver"].iloc[: config["top"]]
    counts = top[top != "none"].value_counts()
    if counts.empty:
        return
    said = ", ".join(f"{n} for **{name}** ({_DRIVERS[str(name)]})" for name, n in counts.items())
    report.text(
        f"**Why a row is there.** Of the first {len(top)}, {said}: the factor by which the row stands farthest "
        "above the typical one, out of expected demand, share of days out, margin per unit, and the rest "
        "(demand on days that run out is not demand on other days)."
    )
