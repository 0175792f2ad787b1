"""What theory says of the recovery study's worlds, held against what came out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.report import Report, format_number, interval_text

BIAS_ROOM, GAP_LEAST = 0.02, 0.70
"""What the study holds LightGBM under censor to, by inventory at 30 %."""
ONE_WORLD = "intervals are over its series and days only"


@dataclass(frozen=True)
class Found:
    """The frames that the study found; see `recovery_tables`."""

    scores: pd.DataFrame
    recovery: pd.DataFrame
    agreement: pd.DataFrame
    bias: pd.DataFrame
    breaks: pd.DataFrame


def points(value: float, digits: int = 1) -> str:
    """Write a difference of shares in percentage points."""
    if not np.isfinite(value):
        return "undefined"
    return f"{100 * value:+.{digits}f}".replace("-", "−")


def points_interval(value: float, lo: float, hi: float) -> str:
    """Write a difference of shares in percentage points, with its interval."""
    text = points(value)
    return text if np.isnan(lo) else f"{text} ({points(lo)} to {points(hi)})"


def at(frame: pd.DataFrame, **wanted: object) -> pd.Series | None:
    """Return the one row with these values, None if there is none."""
    keep = np.ones(len(frame), dtype=bool)
    for column, value in wanted.items():
        same = np.isclose(frame[column], value) if column == "rate" else frame[column] == value
        keep &= np.asarray(same)
    return frame[keep].iloc[0] if keep.any() else None


def checks(report: Report, found: Found) -> None:
    """Write the section of checks."""
    report.section("Checks")
    rows = [*_inventory_checks(found), *_agreement_checks(found)]
    one = bool(len(found.agreement)) and int(found.agreement["seeds"].min()) == 1
    report.text(
        "Statements that theory makes of these worlds, and what came out, whichever way it fell. "
        + (
            f"There is one world: {ONE_WORLD}, and agreement is judged by them."
            if one
            else "Agreement is judged by the t interval over worlds, which holds the luck of "
            "training too."
        )
    )
    if rows:
        report.table(
            pd.DataFrame(rows, columns=["statement", "found (95 %)", "outcome"]),
            "Statements and findings.",
            name="checks",
            max_rows=40,
        )


def by_world(row: pd.Series) -> str:
    """Say how far worlds differ in the bias difference, or that there is one."""
    if row["seeds"] == 1:
        return "one world, so the interval is over its series and days only"
    ends = (row["bias_difference_seed_min"], row["bias_difference_seed_max"])
    mean = (row["bias_difference_worlds_lo"], row["bias_difference_worlds_hi"])
    return (
        f"over worlds {points(mean[0])} to {points(mean[1])}, single worlds {points(ends[0])} to "
        f"{points(ends[1])}"
    )


def _inventory_checks(found: Found) -> list[tuple[str, str, str]]:
    out = []
    for oracle in ("same lags", "full") if len(found.recovery) else ():
        row = at(
            found.recovery, mechanism="inventory", rate=0.3, model="LightGBM", treatment="censor",
            oracle=oracle,
        )  # fmt: skip
        if row is None:
            continue
        value, lo, hi = (row[f"bias_difference{end}"] for end in ("", "_lo", "_hi"))
        out.append(
            (
                f"Inventory, 30 %: bias of censor within 2 points of the oracle's ({oracle})",
                f"{points_interval(value, lo, hi)} points; {by_world(row)}",
                # The wider of both: series and days within worlds, and worlds with their training.
                within(
                    value,
                    np.fmin(lo, row["bias_difference_worlds_lo"]),
                    np.fmax(hi, row["bias_difference_worlds_hi"]),
                ),
            )
        )
        text = interval_text([row["gap_closed"]], [row["lo"]], [row["hi"]], "percent")[0]
        if row["seeds"] == 1:
            text += "; one world"
        else:
            shares = [
                format_number(row[f"gap_closed_seed_{end}"], "percent") for end in ("min", "max")
            ]
            text += f"; single worlds {shares[0]} to {shares[1]}"
        out.append(
            (
                f"Inventory, 30 %: lower bound of the gap closed at least 70 % ({oracle})",
                text,
                _holds(row["lo"] >= GAP_LEAST),
            )
        )
    return out


def _agreement_checks(found: Found) -> list[tuple[str, str, str]]:
    out = []
    for row in found.agreement.itertuples():
        name = "No stockouts"
        if row.mechanism != "none":
            name = f"Whole days at random, {100 * row.rate:g} %"
        # Between worlds, since the training's luck counts as noise; one world has no such interval.
        if row.seeds == 1:
            inside = row.lo <= 0 <= row.hi
            worlds = "one world"
        else:
            inside = row.worlds_lo <= 0 <= row.worlds_hi
            worlds = f"over worlds {points(row.worlds_lo)} to {points(row.worlds_hi)}"
        out.append(
            (
                f"{name}: bias of {row.difference} is nil within noise",
                f"{points_interval(row.value, row.lo, row.hi)} points; {worlds}",
                _holds(inside),
            )
        )
    return out


def _holds(holds: bool) -> str:
    return "holds" if holds else "does not hold"


def within(value: float, lo: float, hi: float) -> str:
    """Say whether a difference of bias keeps within the room, and whether its interval does.

    Examples
    --------
    >>> within(-0.01, -0.015, 0.0), within(-0.03, -0.04, -0.02)
    ('holds, interval too', 'does not hold')
    >>> within(-0.01, -0.024, 0.004)
    'holds at the point estimate, its interval reaches −2.40 points'
    """
    if not abs(value) <= BIAS_ROOM:
        return _holds(False)
    if np.isnan([lo, hi]).any():
        return "holds at the point estimate, without an interval"
    # Two decimals, lest an end just outside read as one on the edge.
    outside = [points(end, 2) for end in (lo, hi) if not abs(end) <= BIAS_ROOM]
    if not outside:
        return "holds, interval too"
    return f"holds at the point estimate, its interval reaches {' and '.join(outside)} points"
