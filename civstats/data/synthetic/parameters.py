"""What the synthetic world is made of: every number in one documented place."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from civstats.schema import CivstatsError

Range = tuple[float, float]


@dataclass(frozen=True)
class WorldParameters:
    """Parameters of the synthetic world; the defaults give M5-like slow movers.

    Levels and effects are on the log scale of the demand mean. A range ``(low, high)`` is drawn
    from once per department, uniformly.

    Attributes
    ----------
    base_median : float
        Median over items of units sold per day on a plain day.
    base_sd : float
        Standard deviation over items of the log of that rate: log-normal, heavy-tailed.
    store_sd, series_sd : float
        Spread of a store's size, and of what an item sells in one store against the others.
    level_sd : float
        Daily standard deviation of the random walk that a series' level follows.
    shock_sd : float
        Standard deviation of the shock that all series of a store share on a day.
    dispersion : (float, float)
        Range of the negative binomial's dispersion a: variance = mean + mean^2 / a.
    weekly_sd, store_weekly_sd : float
        Spread of the day-of-week effects over departments, and of a store's deviations.
    annual_amplitude : (float, float)
        Range of the amplitude of the yearly wave.
    event_sd, event_lift : float
        Spread over departments of an event's lift, and its mean.
    snap_lift : float
        Lift of food departments on the state's SNAP days; a tenth of it elsewhere.
    elasticity : (float, float)
        Range of the price elasticity (positive: demand ~ price ** -elasticity).
    price_median, price_sd : float
        Regular prices: log-normal over items.
    price_change_rate : float
        Probability that a regular price changes in a week.
    promo_rate : float
        Probability that a promotion of an item starts in a state in a week.
    promo_depth : (float, float)
        Range of the price cut, as a share of the regular price; drawn per promotion.
    promo_weeks : int
        Longest promotion; lengths are uniform on 1, ..., promo_weeks.
    promo_lift : float
        Lift of a promotion beyond its price (display, leaflet).
    launch_share : float
        Share of items that are launched after the first day.
    launch_until : float
        Latest launch, as a share of the panel's days.

    Raises
    ------
    CivstatsError
        For a value out of its range.
    """

    base_median: float = 0.33
    base_sd: float = 1.35
    store_sd: float = 0.25
    series_sd: float = 0.3
    level_sd: float = 0.02
    shock_sd: float = 0.1
    dispersion: Range = (1.0, 4.0)
    weekly_sd: float = 0.08
    store_weekly_sd: float = 0.04
    annual_amplitude: Range = (0.05, 0.3)
    event_sd: float = 0.2
    event_lift: float = 0.1
    snap_lift: float = 0.12
    elasticity: Range = (1.2, 2.5)
    price_median: float = 3.5
    price_sd: float = 0.7
    price_change_rate: float = 0.02
    promo_rate: float = 0.04
    promo_depth: Range = (0.1, 0.35)
    promo_weeks: int = 3
    promo_lift: float = 0.15
    launch_share: float = 0.3
    launch_until: float = 0.6

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            bounds = tuple(value) if isinstance(value, (tuple, list)) else (value,)
            if not all(isinstance(x, (int, float)) and math.isfinite(x) for x in bounds):
                raise CivstatsError(f"{field.name} must be finite, but got {value!r}")
            pair = isinstance(field.default, tuple)
            if pair and (len(bounds) != 2 or bounds[0] > bounds[1]):
                raise CivstatsError(f"{field.name} must be a pair (low, high), but got {value!r}")
            if field.name != "event_lift" and min(bounds) < 0:
                raise CivstatsError(f"{field.name} must not be negative, but got {value!r}")
        for name in ("base_median", "price_median"):
            if getattr(self, name) <= 0:
                raise CivstatsError(f"{name} must be positive, but got {getattr(self, name)!r}")
        if self.dispersion[0] <= 0:
            raise CivstatsError(f"dispersion must be positive, but got {self.dispersion!r}")
        if self.promo_depth[1] >= 1:
            raise CivstatsError(f"promo_depth must stay below 1, but got {self.promo_depth!r}")
        if self.promo_weeks < 1:
            raise CivstatsError(f"promo_weeks must be 1 or more, but got {self.promo_weeks!r}")
        for name in ("price_change_rate", "promo_rate", "launch_share", "launch_until"):
            if getattr(self, name) > 1:
                raise CivstatsError(f"{name} must be a share, but got {getattr(self, name)!r}")
