"""Serve demand through outages that are given, not ordered for: stock, sales, moved units."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.schema import series_index
from civstats.stockouts.simulate.policy import InventoryPolicy, first_days, true_demand
from civstats.stockouts.simulate.recapture import Recapture, sister_groups, whole_units


class Server:
    """A panel laid out for the walk, with every draw made; serves it through outages.

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel.
    rng : numpy.random.Generator
    recapture : Recapture, optional
    profile : numpy.ndarray, shape (n_rows,), optional
        Known factors on a day's expected sales.
    """

    def __init__(
        self,
        panel: pd.DataFrame,
        *,
        rng: np.random.Generator,
        recapture: Recapture | None = None,
        profile: np.ndarray | None = None,
    ) -> None:
        index = series_index(panel)
        self._demand = true_demand(panel)
        if recapture is not None:
            whole_units(panel, self._demand, "recapture")
        self._recapture = recapture or Recapture()
        self._groups = sister_groups(panel, index, recapture)
        self._start, self._end = index.starts.astype(np.int64), index.ends.astype(np.int64)
        self._first_day = first_days(panel, index.starts)
        self._profile = np.ones(len(panel), np.float32) if profile is None else profile
        self._key = rng.integers(0, 2**64, size=len(index.ids), dtype=np.uint64)

    def serve(
        self, cover: np.ndarray, share: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Serve every day; more or longer outages share all other draws.

        Parameters
        ----------
        cover : numpy.ndarray, shape (n_rows,), float32
            NaN on a day with plenty; else the day's stock in multiples of what past observed
            sales and the profile make the shop expect, randomly rounded; 0 is an empty shelf.
        share : numpy.ndarray, shape (n_rows,), float32, optional
            Share of the day during which the item can be sold.

        Returns
        -------
        stock, sales, recaptured
            Each of shape (n_rows,), float32; stock NaN where there is plenty, `recaptured` None
            without recapture.
        """
        from civstats.stockouts.simulate.kernels import given_walk

        n = len(self._demand)
        stock, sales = np.empty(n, np.float32), np.empty(n, np.float32)
        moves = self._recapture.substitute + self._recapture.later > 0
        recaptured = np.zeros(n if moves else 0, np.float32)
        rule = InventoryPolicy()
        given_walk(
            self._groups.ends, self._groups.member, self._start, self._end, self._first_day,
            self._demand, self._profile, cover, np.empty(0, np.float32) if share is None else share,
            self._key, rule.memory, rule.prior_level, rule.prior_days,
            float(self._recapture.substitute), float(self._recapture.later),
            int(self._recapture.within_days), stock, sales, recaptured,
        )  # fmt: skip
        return stock, sales, recaptured if moves else None
