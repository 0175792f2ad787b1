"""A shelf walked ahead along demand paths: stock carries over, so demand and stockouts go together."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.models.availability._replay import infer, read_shelves
from civstats.models.availability._walk import Replay
from civstats.schema import DS, ID, CivstatsError, ForecastError
from civstats.stockouts.simulate import InventoryPolicy

if TYPE_CHECKING:
    import xarray as xr

_CELLS = 1_000_000


@dataclass(frozen=True)
class Replenishment:
    """A lever on how goods come: shorter lead time, shorter review period, or both.

    A series whose own figure is shorter already keeps it. Where stock carries over, a day saved
    may be a day lost later, so nothing is claimed path by path: the gain of a sample may be
    negative. So may be its mean, where the shop's safety factor is below zero: the order-up-to
    level is mean need plus safety factor times its standard deviation over the days to be covered,
    so with fewer days to cover it falls, per day covered, the faster the lower the safety factor.
    On simulated shops the gain of lead time 1 and review period 1 grew from 1 to 5 % of sales
    between 5 and 20 % of days out (safety factor 1.5 to 0.3) and was gone at 40 % (-0.6); with
    `keep_level` it grew all the way.

    Attributes
    ----------
    lead_time, review_period : int, optional
        Days, 1 or more; None leaves it as it is.
    keep_level : bool
        Whether the order-up-to level stays what it was: as much is bought ahead as before, and it
        is there sooner. By default the shop's rule cuts it to the days that it must now cover.

    Examples
    --------
    >>> Replenishment(lead_time=1).describe()
    'faster replenishment: orders arrive within 1 day'
    """

    lead_time: int | None = None
    review_period: int | None = None
    keep_level: bool = False

    def __post_init__(self) -> None:
        for name in ("lead_time", "review_period"):
            value = getattr(self, name)
            whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if value is not None and (not whole or value < 1):
                raise CivstatsError(f"{name} must be a whole number of days, but got {value!r}")

    def describe(self) -> str:
        """Return what the lever does, in plain language."""
        words = []
        for value, text in (
            (self.lead_time, "orders arrive within {}"),
            (self.review_period, "orders are placed every {}"),
        ):
            if value is not None:
                words.append(text.format(f"{value} day" + ("s" if value != 1 else "")))
        if words and self.keep_level:
            words[-1] += ", up to the same level as before"
        return "faster replenishment: " + (" and ".join(words) or "nothing changes")


class Shelf:
    """Availability from an order-up-to policy, walked on from the stock that the panel shows.

    :class:`Availability` draws outages from a chain that does not see the demand path it is laid
    beside. A shelf runs empty because of that very path, and tomorrow's stock is what today left:
    where the panel has the opening stock of every day, the inventory position at the cutoff is
    known, each series' review days, lead time and the policy's safety factor can be read from past
    deliveries, and the shelf can be walked along every path of demand. Demand and stockouts are
    then drawn jointly, as the mark ``joint`` on the paths says.

    Parameters
    ----------
    policy : InventoryPolicy, optional
        The rule by which the shop orders. ``review_period`` and ``lead_time`` list what is possible
        (each series' own is inferred); ``safety_factor`` is estimated and not read.

    Attributes
    ----------
    safety_factor_ : float
    review_period_, lead_time_ : numpy.ndarray of int, shape (n_series,)
    residual_ : numpy.ndarray, shape (n_series,)
        Standard deviation of past order-up-to positions about the rule's, in units of the rule's
        standard deviation of need: near 0 where the rule is right (rounding remains), about 1 or
        more where this shop does not order by it. Look at it before believing the paths.
    series_ : pandas.Index
    cutoff_ : pandas.Timestamp
    """

    safety_factor_: float
    review_period_: np.ndarray
    lead_time_: np.ndarray
    residual_: np.ndarray
    series_: pd.Index
    cutoff_: pd.Timestamp

    def __init__(self, policy: InventoryPolicy | None = None) -> None:
        self.policy = policy or InventoryPolicy()

    def fit(self, panel: pd.DataFrame) -> Shelf:
        """Read stock, deliveries and the policy's free figures from a panel up to its cutoff.

        Raises
        ------
        CivstatsError
            Without the opening stock of every day, or where it is smaller than the day's sales.
        """
        self._past = read_shelves(panel, self.policy)
        self._rule, self.residual_ = infer(self._past, self.policy)
        self.safety_factor_ = self._rule.safety
        self.review_period_, self.lead_time_ = self._rule.review, self._rule.lead
        self.series_, self.cutoff_ = self._past.ids, pd.Timestamp(self._past.days[-1])
        return self

    def paths(
        self,
        demand: xr.DataArray,
        *,
        future: pd.DataFrame | None = None,
        lever: Replenishment | None = None,
        seed: int = 0,
    ) -> xr.Dataset:
        """Walk the shelves along paths of demand.

        Parameters
        ----------
        demand : xarray.DataArray
            Dims ``unique_id, sample, ds``; the days that follow the cutoff, without gaps.
        future : pandas.DataFrame, optional
            Known covariates of those days (price, promo, events); weekdays alone without it.
        lever : Replenishment, optional
            From the first day on orders are placed by it; what is under way arrives as ordered, so
            the first days (the old lead time and a review period) are a transition.
        seed : int
            Of the policy's random rounding; with the same seed two levers share all draws.

        Returns
        -------
        xarray.Dataset
            ``out`` (the shelf ends the day empty), ``stock`` (units at opening; +inf on days not
            out), ``share`` (one), on the dims of `demand`; attribute ``joint`` is True.

        Raises
        ------
        ForecastError
            Not fitted, unknown series, or days that do not follow the cutoff.
        """
        import xarray as xr

        if not hasattr(self, "cutoff_"):
            raise ForecastError("Shelf is not fitted: call fit(panel) first")
        ids, days = pd.Index(demand[ID].to_numpy()), pd.DatetimeIndex(demand[DS].to_numpy())
        at = self.series_.get_indexer(ids.astype(object))
        if (at < 0).any():
            raise ForecastError(
                f"{int((at < 0).sum())} series of the demand paths have no shelf at the cutoff, first "
                f"{ids[at < 0][0]}: drop them or fit on a panel that holds them"
            )
        wanted = pd.date_range(self.cutoff_, periods=len(days) + 1, freq="D")[1:]
        if not days.equals(wanted):
            raise ForecastError(
                f"the paths must hold every day from {wanted[0].date()} to {wanted[-1].date()}: stock "
                "carries over, so none can be left out"
            )
        rule = self._rule
        if lever is not None:
            rule = rule.faster(lever.review_period, lever.lead_time, keep_level=lever.keep_level)
        replay = Replay(
            self._past, self.policy, self._rule, rule, self._past.profile_ahead(future, days)
        )
        samples, h = demand.shape[1:]
        out, stock = np.empty(demand.shape, bool), np.empty(demand.shape, np.float32)
        size = max(1, _CELLS // (samples * h))
        # Blocks of one rule each, so that a day's step is a handful of array operations.
        kind = self._rule.review[at] * 1000 + self._rule.lead[at]
        for value in np.unique(kind):
            members = np.flatnonzero(kind == value)
            for k in range(0, len(members), size):
                i = members[k : k + size]
                uniform = np.stack([self._uniforms(ids[j], seed, samples, h) for j in i])
                out[i], stock[i] = replay.walk(at[i], np.asarray(demand.data[i], float), uniform)
        dims = (ID, "sample", DS)
        return xr.Dataset(
            {
                "out": (dims, out),
                "stock": (dims, stock),
                "share": (dims, np.broadcast_to(np.float32(1), demand.shape)),
            },
            coords=demand.coords,
            attrs={"joint": True},
        )

    def _uniforms(self, name: object, seed: int, samples: int, h: int) -> np.ndarray:
        """Uniforms of a series for rounding: orders still under way, then the days ahead."""
        rng = np.random.default_rng([int(seed), zlib.crc32(str(name).encode()), 7])
        longest = int(np.max(self.policy.lead_time))
        return rng.random((samples, longest + h))
