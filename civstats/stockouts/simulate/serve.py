"""Serve demand through outages that are given, not ordered for: stock, sales, moved units."""

from __future__ import annotations

import numpy as np
import pandas as pd

from civstats.stockouts.simulate.layout import Layout
from civstats.stockouts.simulate.policy import InventoryPolicy
from civstats.stockouts.simulate.recapture import Recapture


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
        self._layout = Layout(panel, rng, recapture)
        self._profile = np.ones(len(panel), np.float32) if profile is None else profile

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
        from civstats.stockouts.simulate.walks import given_walk

        stock, sales, recaptured = self._layout.blank()
        rule = InventoryPolicy()
        given_walk(
            *self._layout.panel_args, self._profile, cover,
            np.empty(0, np.float32) if share is None else share, self._layout.key,
            rule.memory, rule.prior_level, rule.prior_days,
            *self._layout.recapture_args, stock, sales, recaptured,
        )  # fmt: skip
        return stock, sales, recaptured if len(recaptured) else None
