"""The gates of posteriors in the report of `value_of_instock.py`: a stamp where one is not passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from civstats.report import Report, literal

if TYPE_CHECKING:
    from civstats.backtest import Backtest

_SHOWN = {"passed": "passed", "failed": "FAILED", "undefined": "NOT CHECKED", "note": "note"}


def posteriors(backtest: Backtest) -> dict[tuple[str, pd.Timestamp], pd.DataFrame]:
    """Return the tables of gates by alias and cutoff, of forecasts that rest on a posterior."""
    return {
        key: pd.DataFrame(forecast.frame.attrs["gates"])
        for key, forecast in backtest.all_forecasts.items()
        if "gates" in forecast.frame.attrs
    }


def stamp(report: Report, backtest: Backtest) -> None:
    """Stamp the report where a posterior does not pass."""
    from civstats.diagnostics import check_gates

    found = posteriors(backtest)
    bad = {key: text for key, table in found.items() if (text := check_gates(table, allow=True))}
    for (name, cutoff), text in bad.items():
        report.callout(
            literal(f"{name}, fitted up to {cutoff:%d %b %Y}: {text}"),
            "warning",
            "Gates not passed",
        )


def gates_section(report: Report, backtest: Backtest) -> None:
    """Show what each posterior passed."""
    found = posteriors(backtest)
    if not found:
        return
    report.subsection("Are the posteriors sound?")
    held = {key: table[table["status"] != "note"] for key, table in found.items()}
    whole = all((t["status"] == "passed").all() for t in held.values())
    report.text(
        "A posterior is held against gates before anything is said with it: R-hat and effective sample sizes of "
        "every scalar, divergences, E-BFMI. "
        + (
            "Every gate is passed at every cutoff."
            if whole
            else "**Not every gate is passed**, so what rests on those fits may be wrong; the stamp above says where."
        )
    )
    rows = [
        {
            "model": name,
            "cutoff": f"{cutoff:%d %b %Y}",
            "gate": row.gate,
            "result": _SHOWN[row.status],
            "value": row.value,
            "limit": row.limit,
            "failing": row.failing,
            "of": row.checked,
            "worst": row.worst,
        }
        for (name, cutoff), table in held.items()
        for row in table.itertuples()
    ]
    report.table(
        pd.DataFrame(rows),
        "Gates of every posterior.",
        formats={"value": ".4g"},
        max_rows=60,
        name="gates",
    )
