"""The gates of posteriors in the report of `value_of_instock.py`: a stamp where one is not passed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from civstats.report import Report, literal

if TYPE_CHECKING:
    from civstats.backtest import Backtest

_VALUES = ("R-hat", "bulk ESS", "tail ESS", "divergences", "E-BFMI")


def posteriors(backtest: Backtest) -> dict[tuple[str, pd.Timestamp], pd.DataFrame]:
    """Return the tables of gates by alias and cutoff, of forecasts that rest on a posterior."""
    return {
        key: pd.DataFrame(forecast.frame.attrs["gates"])
        for key, forecast in backtest.all_forecasts.items()
        if "gates" in forecast.frame.attrs
    }


def failures(backtest: Backtest) -> dict[tuple[str, pd.Timestamp], str]:
    """Say what is not passed, by alias and cutoff; empty where all posteriors are sound."""
    from civstats.diagnostics import check_gates

    found = posteriors(backtest)
    return {key: text for key, table in found.items() if (text := check_gates(table, allow=True))}


def stamp(report: Report, backtest: Backtest) -> None:
    """Stamp the report where a posterior does not pass."""
    for (name, cutoff), text in failures(backtest).items():
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
    rows = []
    for (name, cutoff), table in held.items():
        by = table.set_index("gate")
        bad = by.index[by["status"] != "passed"]
        worst = "; ".join(f"{g}: {by.at[g, 'worst']}" for g in bad)
        rows.append(
            {"model": name, "cutoff": f"{cutoff:%d %b %Y}"}
            | {g: by.at[g, "value"] for g in _VALUES if g in by.index}
            | {"passed": f"{len(by) - len(bad)} of {len(by)}", "not passed": worst or "none"}
        )
    limits = "; ".join(
        f"{row.gate} {row.limit}"
        for row in next(iter(held.values())).itertuples()
        if row.gate in _VALUES
    )
    report.table(
        pd.DataFrame(rows),
        "Posteriors against their gates.",
        formats={"R-hat": ".3f", "bulk ESS": ",.0f", "tail ESS": ",.0f", "E-BFMI": ".2f"},
        max_rows=60,
        name="gates",
        note=f"Largest R-hat and smallest effective sample size of {int(next(iter(held.values()))['checked'].max()):,} "
        f"scalars. Limits: {limits}. Draws are finite and chains move, or it would be said.",
    )
