"""What theory says of the recovery study's worlds, held against what came out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.report import Report, interval_text

BIAS_ROOM, GAP_LEAST = 0.02, 0.70
"""What the study holds LightGBM under censor to, by inventory at 30 %."""


@dataclass(frozen=True)
class Found:
    """The frames that the study found; see `recovery_tables`."""

    scores: pd.DataFrame
    recovery: pd.DataFrame
    agreement: pd.DataFrame
    bias: pd.DataFrame
    breaks: pd.DataFrame


def points(value: float) -> str:
    """Write a difference of shares in percentage points."""
    if not np.isfinite(value):
        return "undefined"
    return f"{100 * value:+.1f}".replace("-", "−")


def points_interval(value: float, lo: float, hi: float) -> str:
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
    report.section("Checks")
    report.text(
        "Statements that theory makes of these worlds, and what came out, whichever way it fell. "
        "Agreement is judged by the t interval over worlds, which holds the luck of training too."
    )
    rows = [*_inventory_checks(found), *_agreement_checks(found)]
    if rows:
        report.table(
            pd.DataFrame(rows, columns=["statement", "found", "holds"]),
            "Statements and findings.",
            name="checks",
            max_rows=40,
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
        difference = row["bias_difference"]
        seeds = (
            f"; by world {points(row['bias_difference_seed_min'])} to "
            f"{points(row['bias_difference_seed_max'])}"
        )
        ends = (row["bias_difference_lo"], row["bias_difference_hi"])
        interval = points_interval(difference, *ends)
        out.append(
            (
                f"Inventory, 30 %: bias of censor within 2 points of the oracle's ({oracle})",
                f"{interval} points{seeds}",
                _within(difference, ends),
            )
        )
        text = interval_text([row["gap_closed"]], [row["lo"]], [row["hi"]], "percent")[0]
        out.append(
            (
                f"Inventory, 30 %: lower bound of the gap closed at least 70 % ({oracle})",
                text,
                _yes(row["lo"] >= GAP_LEAST),
            )
        )
    return out


def _agreement_checks(found: Found) -> list[tuple[str, str, str]]:
    out = []
    for row in found.agreement.itertuples():
        name = (
            "No stockouts" if row.mechanism == "none" else f"Whole days at random, {row.rate:.0%}"
        )
        worlds = f"; over worlds {points(row.worlds_lo)} to {points(row.worlds_hi)}"
        # Between worlds, since the training's luck counts as noise; one world has no such interval.
        one = np.isnan(row.worlds_lo)
        inside = row.lo <= 0 <= row.hi if one else row.worlds_lo <= 0 <= row.worlds_hi
        out.append(
            (
                f"{name.replace('%', ' %')}: bias of {row.difference} is nil within noise",
                f"{points_interval(row.value, row.lo, row.hi)} points{worlds}",
                _yes(inside),
            )
        )
    return out


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _within(value: float, ends: tuple[float, float]) -> str:
    """Say whether a difference keeps within the room, and whether its interval does."""
    if abs(value) > BIAS_ROOM:
        return "no"
    if max(abs(end) for end in ends) <= BIAS_ROOM:
        return "yes, and so does its interval"
    return "as a point estimate; its interval reaches further"
