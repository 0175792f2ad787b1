"""What LightGBM refuses: settings that do not go together, panels that censor cannot learn from."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.models._booster import OBJECTIVES
from civstats.schema import CivstatsError, ForecastError, PanelError, Y, treated_sales

TARGETS = ("daily", "next_day", "week_sum")
HISTORIES = ("exposure", "filter")


def check_settings(
    treatment: str,
    target: str,
    objective: str,
    dispersion: float | None,
    zero_inflated: bool,
    history: str,
) -> None:
    """Refuse arguments that are unknown or do not go together."""
    if target not in TARGETS:
        raise CivstatsError(f"target must be one of {', '.join(TARGETS)}, but got {target!r}")
    if objective not in OBJECTIVES:
        raise CivstatsError(
            f"objective must be one of {', '.join(OBJECTIVES)}, but got {objective!r}"
        )
    if dispersion is not None and (treatment != "censor" or not dispersion > 0):
        raise CivstatsError(
            f"dispersion must be positive and goes with treatment 'censor', but got "
            f"{dispersion!r} with {treatment!r}"
        )
    if zero_inflated and treatment != "censor":
        raise CivstatsError(f"zero_inflated goes with treatment 'censor', but got {treatment!r}")
    if treatment == "censor" and target == "week_sum":
        raise CivstatsError(
            "LightGBM cannot honour treatment 'censor' with target 'week_sum': a sum of exact "
            "and censored days is neither; forecast days, whose paths sum"
        )
    if history not in HISTORIES or (history == "filter" and treatment != "censor"):
        raise CivstatsError(
            f"history must be one of {', '.join(HISTORIES)}, and 'filter' goes with treatment "
            f"'censor', but got {history!r} with {treatment!r}"
        )


def check_censorable(panel: pd.DataFrame, name: str) -> None:
    """Refuse a panel whose days the censored likelihood cannot read, or cannot learn from."""
    y = panel[Y].to_numpy()
    odd = int((y != np.rint(y)).sum())
    if odd:
        raise PanelError(
            f"{name} under censor needs whole units: {odd} row(s) with fractional "
            f"sales; rescale {Y}, or use treatment ignore or mask"
        )
    sales, _, bound = treated_sales(panel, "censor")
    if not (np.isfinite(sales) & ~bound).any():
        raise ForecastError(
            f"{name} under censor: all {len(panel)} row(s) are censored, and bounds "
            "alone have no finite demand that fits them best; check the flags, or give a "
            "history with days in stock"
        )
