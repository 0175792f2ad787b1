"""The options of the recovery study: read, checked, and refused in one line."""

from __future__ import annotations

import math
from typing import Any, NoReturn

import typer
from recovery_worlds import GRID_MODELS
from typer.core import TyperCommand

from civstats.schema import CivstatsError

SOURCES = ("synthetic", "m5")
M5_ONLY = {"path": None, "store": ["CA_1"], "department": ["FOODS_3"]}
"""Options that choose among M5's series, and what they are where nothing is said."""
WINDOW = 91
"""Days in the longest rolling mean among LightGBM's features."""
LIMITS = {
    "seeds": (1, 1_000),
    "seed": (0, 1_000_000_000),
    "series": (1, 100_000),
    "days": (1, 36_500),
    "h": (1, 365),
    "windows": (1, 1_000),
    "rounds": (1, 100_000),
    "rows": (1_000, 100_000_000),
    "origins": (1, 1_000),
    "boot": (40, 100_000),
    "jobs": (1, 1_024),
}
"""Least and most of every whole number. Of fewer than 40 replicates none is beyond a 95 % interval."""
CELLS = 100_000_000
"""Series x days of a synthetic world at most."""


def refuse(message: str) -> NoReturn:
    """Print one line and end with exit code 2."""
    typer.echo("error: " + " ".join(message.split()), err=True)
    raise typer.Exit(2)


class OneLine(TyperCommand):
    """A command that refuses what it cannot read in one line, without a box around it."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command line."""
        try:
            return super().make_context(*args, **kwargs)
        except Exception as error:
            # Errors of usage know how to say themselves; their class is not typer's to name.
            if not hasattr(error, "format_message"):
                raise
            refuse(error.format_message())


def words(text: str | None) -> list[str] | None:
    """Split a comma-separated option."""
    if text is None:
        return None
    return [word.strip() for word in text.split(",") if word.strip()]


def percentages(option: str, text: str) -> list[float]:
    """Read comma-separated percentages, as shares."""
    try:
        return [float(word) / 100 for word in words(text) or []]
    except ValueError:
        raise CivstatsError(
            f"--{option} must hold numbers in percent such as 5,15,30, but got {text!r}"
        ) from None


def days_needed(config: dict) -> tuple[int, int]:
    """Return the days that are scored, and those that must come before them."""
    return config["windows"] * config["h"], WINDOW + config["h"]


def check(config: dict) -> dict:
    """Refuse wrong options before any work; return the configuration with M5's defaults filled in."""
    from civstats.stockouts.simulate import MECHANISMS

    _known("data", [config["data"]], SOURCES)
    for name, (least, most) in LIMITS.items():
        if not least <= config[name] <= most:
            raise CivstatsError(
                f"--{name} must be a whole number from {least:,} to {most:,}, but got "
                f"{config[name]:,}"
            )
    rate = config["learning_rate"]
    if not 0 < rate <= 1:
        raise CivstatsError(f"--learning-rate must be above 0 and at most 1, but got {rate:g}")
    _rates("rates", config["rates"])
    _rates("break-rate", [config["break_rate"]])
    _known("mechanisms", config["mechanisms"], sorted(MECHANISMS))
    _known("models", config["models"], list(GRID_MODELS))
    if config["breaks"] and "LightGBM" not in config["models"]:
        raise CivstatsError("--break needs LightGBM among --models; add it, or --no-break")
    _check_days(config)
    return config | _source(config)


def _known(option: str, found: list[str], known: list[str] | tuple[str, ...]) -> None:
    some = "must be one of" if option == "data" else "must be some of"
    unknown = [x for x in found if x not in known]
    if unknown or not found:
        raise CivstatsError(
            f"--{option} {some} {', '.join(known)}, but got {', '.join(unknown) or 'none'}"
        )
    _once(option, found)


def _once(option: str, found: list) -> None:
    twice = sorted({str(x) for x in found if found.count(x) > 1})
    if twice:
        raise CivstatsError(f"--{option} names {', '.join(twice)} more than once; name it once")


def _rates(option: str, rates: list[float]) -> None:
    if not rates:
        raise CivstatsError(f"--{option} must hold at least one rate in percent, such as 30")
    for rate in rates:
        if not (math.isfinite(rate) and 0 < rate < 1):
            raise CivstatsError(
                f"--{option} must be above 0 and below 100 percent, but got {100 * rate:g}"
            )
    _once(option, [f"{100 * rate:g}" for rate in rates])


def _check_days(config: dict) -> None:
    scored, before = days_needed(config)
    if config["days"] < scored + before:
        raise CivstatsError(
            f"--days {config['days']} is too few: {config['windows']} window(s) of {config['h']} "
            f"days are scored and {before} days must come before them ({WINDOW} for the longest "
            f"rolling mean, {config['h']} to learn from), {scored + before} in all; raise --days, or "
            "lower --windows or --h"
        )
    if config["data"] == "synthetic" and config["series"] * config["days"] > CELLS:
        raise CivstatsError(
            f"--series {config['series']:,} x --days {config['days']:,} is more than {CELLS:,} "
            "rows; lower one of them"
        )


def _source(config: dict) -> dict:
    given = [name for name in M5_ONLY if config[name] is not None]
    if config["data"] == "synthetic":
        if given:
            raise CivstatsError(f"--{given[0]} is for --data m5; leave it out, or add --data m5")
        return {}
    for name in ("store", "department"):
        if config[name] == []:
            raise CivstatsError(f"--{name} names nothing; leave it out or name at least one")
    if config["path"] is None:
        raise CivstatsError("--data m5 needs --path: the Kaggle zip or the unzipped folder")
    return {name: M5_ONLY[name] for name in M5_ONLY if config[name] is None}
