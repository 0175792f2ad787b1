"""Periodic-review order-up-to inventory: what is on the shelf each day, and what that sells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from civstats.schema import DS, CivstatsError
from civstats.stockouts.simulate.calibrate import find
from civstats.stockouts.simulate.covariates import trade_calendar
from civstats.stockouts.simulate.layout import Layout
from civstats.stockouts.simulate.recapture import Recapture

_SEARCH = (-15.0, 40.0)


@dataclass(frozen=True)
class InventoryPolicy:
    """How shops reorder: every `review_period` days up to a level that lasts until the next order.

    The level is the expected need over review period plus lead time and `safety_factor` of its
    standard deviation. Expected need is the smoothed **observed** sales of the series (a day that
    ended empty can raise it, never lower it; so shortage does not feed on itself), scaled by rules
    of thumb for promotions, events and weekends, which are known ahead. True demand, its mean and
    anything later than the day of the order play no part: given what was observed before, stock
    says nothing about demand.

    Attributes
    ----------
    review_period, lead_time : int or sequence of int
        Days. Of several values each series draws one; orders placed at closing time arrive
        before opening, `lead_time` days later.
    safety_factor : float
        One scalar for all series; a target rate of stockout days is hit by choosing it.
    memory : float
        Weight of a new day in the smoothed sales, in (0, 1].
    prior_level, prior_days : float
        What the shop believes of any new item (units a day), and how many days outweigh that.
    dispersion : float
        The shop's rule for the variance of a day's sales, ``mean + mean**2 / dispersion``.
    min_level, pack_size : int
        An order-up-to level is at least `min_level` units; orders come in packs.
    launch_days : int
        Through its first days of record an item is launched: each morning the shelf is filled to
        `launch_stock` units, whatever the item, and what the policy does not want goes back at
        the end. It is how the shop learns an item's pace without peeking.
    launch_stock : int
        Units.
    promo_uplift, event_uplift, weekend_uplift : float
        Factors on the smoothed sales on such days.

    Examples
    --------
    >>> InventoryPolicy(review_period=7, lead_time=2).safety_factor
    1.0
    """

    review_period: int | Sequence[int] = (1, 2)
    lead_time: int | Sequence[int] = (2, 3, 4)
    safety_factor: float = 1.0
    memory: float = 0.03
    prior_level: float = 0.5
    prior_days: float = 2.0
    dispersion: float = 2.0
    min_level: int = 1
    pack_size: int = 1
    launch_days: int = 14
    launch_stock: int = 1000
    promo_uplift: float = 1.5
    event_uplift: float = 1.1
    weekend_uplift: float = 1.2

    def __post_init__(self) -> None:
        for name in ("review_period", "lead_time"):
            if min(_options(getattr(self, name)), default=0) < 1:
                raise CivstatsError(
                    f"{name} must be 1 day or more, but got {getattr(self, name)!r}"
                )
        for name in (
            "dispersion",
            "prior_level",
            "prior_days",
            "promo_uplift",
            "event_uplift",
            "weekend_uplift",
        ):
            if not 0 < getattr(self, name) < np.inf:
                raise CivstatsError(f"{name} must be positive, but got {getattr(self, name)!r}")
        if not 0 < self.memory <= 1:
            raise CivstatsError(f"memory must lie in (0, 1], but got {self.memory!r}")
        for name, least in (
            ("min_level", 0),
            ("pack_size", 1),
            ("launch_days", 0),
            ("launch_stock", 1),
        ):
            if getattr(self, name) < least:
                raise CivstatsError(
                    f"{name} must be {least} or more, but got {getattr(self, name)!r}"
                )
        if not np.isfinite(self.safety_factor):
            raise CivstatsError(f"safety_factor must be finite, but got {self.safety_factor!r}")


@dataclass(frozen=True)
class PolicyChange:
    """A shop that orders by another rhythm from some day on; what is under way arrives as ordered.

    Attributes
    ----------
    policy : InventoryPolicy
        Its review period and lead time are read, all else stays as it was.
    start : str or Timestamp
        First day after whose closing orders are placed by it.
    keep_level : bool
        Whether the order-up-to level goes on covering the old review period and lead time. By
        default it covers the new ones and falls with them.
    """

    policy: InventoryPolicy
    start: str | pd.Timestamp
    keep_level: bool = False


@dataclass(frozen=True)
class PolicyRun:
    """What a policy does to a panel, row by row in the panel's order.

    Attributes
    ----------
    stock, sales : numpy.ndarray, shape (n_rows,), float32
        Units on hand at opening; units sold, ``min(demand + recaptured, stock)``.
    recaptured : numpy.ndarray or None, shape (n_rows,), float32
        Units of the demand faced that other series or days lost.
    """

    stock: np.ndarray
    sales: np.ndarray
    recaptured: np.ndarray | None = None

    @property
    def is_censored(self) -> np.ndarray:
        """The shelf ended empty, shape (n_rows,), bool."""
        return self.sales >= self.stock


def run_policy(
    panel: pd.DataFrame,
    policy: InventoryPolicy,
    *,
    seed: int | np.random.Generator,
    recapture: Recapture | None = None,
    change: PolicyChange | None = None,
) -> PolicyRun:
    """Walk the policy over the panel's true demand.

    With the same integer seed two policies share every draw that they have in common (a series'
    place among the options for review and lead time, review days, rounding, the fate of lost
    units): common random numbers for "what if replenishment were faster".

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel; its ``demand`` (``y`` where there is none) is what customers want.
    policy : InventoryPolicy
    seed : int or numpy.random.Generator
        A generator moves on; use an integer to compare policies.
    recapture : Recapture, optional
    change : PolicyChange, optional
        What faster replenishment would have done from a day on: up to it nothing differs from the
        run without the change.

    Returns
    -------
    PolicyRun

    Examples
    --------
    >>> days = pd.date_range("2024-01-01", periods=60)
    >>> from civstats.schema import validate_panel
    >>> panel = validate_panel(pd.DataFrame({"unique_id": "a", "ds": days, "y": 2}))
    >>> run = run_policy(panel, InventoryPolicy(), seed=1)
    >>> bool((run.sales <= run.stock).all())
    True
    """
    return Shop(panel, seed=seed, recapture=recapture).run(policy, change=change)


def calibrate_policy(
    panel: pd.DataFrame,
    policy: InventoryPolicy,
    *,
    rate: float,
    seed: int | np.random.Generator,
    recapture: Recapture | None = None,
) -> InventoryPolicy:
    """Choose the safety factor with which a share `rate` of the panel's days ends empty.

    Parameters
    ----------
    panel, policy, seed, recapture
        As in `run_policy`; run the result with the same integer seed.
    rate : float
        Share of series-days, in (0, 1).

    Raises
    ------
    CivstatsError
        If no safety factor comes within one percentage point.
    """
    return Shop(panel, seed=seed, recapture=recapture).calibrate(policy, rate)


class Shop:
    """A panel laid out for the walk, with every draw made; runs policies on it.

    Parameters
    ----------
    panel, seed, recapture
        As in `run_policy`.
    """

    def __init__(
        self,
        panel: pd.DataFrame,
        *,
        seed: int | np.random.Generator,
        recapture: Recapture | None = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        self._layout = Layout(panel, rng, recapture)
        self._calendar = trade_calendar(panel)
        self._days = np.unique(panel[DS].to_numpy())
        self._u = rng.random((3, len(self._layout.key)))
        self._profile_of: tuple[tuple[float, ...], np.ndarray] = ((), np.empty(0, np.float32))

    def run(
        self,
        policy: InventoryPolicy,
        *,
        sample: bool = False,
        change: PolicyChange | None = None,
    ) -> PolicyRun:
        """Walk one policy over all days, or over those of a sample of the series (others NaN)."""
        from civstats.stockouts.simulate.walks import policy_walk

        stock, sales, recaptured = self._layout.blank()
        eras = [policy, policy if change is None else change.policy]
        review = np.stack([_draw(p.review_period, self._u[0]) for p in eras])
        lead = np.stack([_draw(p.lead_time, self._u[1]) for p in eras])
        phase = (self._u[2] * review).astype(np.int64)
        cover = review + lead
        first_day = len(self._days)
        if change is not None:
            first_day = int(np.searchsorted(self._days, pd.Timestamp(change.start).to_datetime64()))
            if change.keep_level:
                cover[1] = cover[0]
        policy_walk(
            *(self._layout.sample_args if sample else self._layout.panel_args),
            self._profile(policy), self._layout.key,
            review, lead, phase, cover, first_day,
            float(policy.safety_factor), float(policy.memory), float(policy.prior_level),
            float(policy.prior_days), float(policy.dispersion), float(policy.min_level),
            float(policy.pack_size), int(policy.launch_days), float(policy.launch_stock),
            *self._layout.recapture_args, stock, sales, recaptured,
        )  # fmt: skip
        return PolicyRun(stock, sales, recaptured if len(recaptured) else None)

    def calibrate(self, policy: InventoryPolicy, rate: float) -> InventoryPolicy:
        """Bisect the safety factor; see `calibrate_policy`."""
        n_rows, n_sample = self._layout.n_rows

        def walk(minus_factor: float, sample: bool) -> float:
            run = self.run(replace(policy, safety_factor=-minus_factor), sample=sample)
            return float(np.count_nonzero(run.is_censored)) / (n_sample if sample else n_rows)

        found = find(
            lambda x: walk(x, False), rate, -_SEARCH[1], -_SEARCH[0], "inventory",
            "change review_period or lead_time",
            sample=(lambda x: walk(x, True)) if n_sample < n_rows else None,
        )  # fmt: skip
        return replace(policy, safety_factor=-found)

    def _profile(self, policy: InventoryPolicy) -> np.ndarray:
        """Known factors on a day's expected sales, shape (n_rows,), float32."""
        uplifts = (policy.weekend_uplift, policy.promo_uplift, policy.event_uplift)
        if self._profile_of[0] != uplifts:
            calendar = self._calendar
            factor = np.where(calendar.weekend, np.float32(uplifts[0]), np.float32(1))
            factor[calendar.promo] *= np.float32(uplifts[1])
            factor[calendar.event] *= np.float32(uplifts[2])
            self._profile_of = (uplifts, factor)
        return self._profile_of[1]


def _options(value: int | Sequence[int]) -> np.ndarray:
    return np.atleast_1d(np.asarray(value, dtype=np.int64))


def _draw(value: int | Sequence[int], u: np.ndarray) -> np.ndarray:
    # Sorted, so that a series keeps its place among the options when they all get shorter.
    options = np.sort(_options(value))
    return options[(u * len(options)).astype(np.int64)]
