"""What a backtest leaves: forecasts side by side, and the outcomes beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from civstats.schema import CUTOFF, DS, ID, OUTCOMES, Forecast, PanelError


@dataclass(frozen=True)
class Backtest:
    """Forecasts of several models at several cutoffs.

    Attributes
    ----------
    frame : pandas.DataFrame
        ``unique_id, ds, cutoff`` and every model's columns, units per day; one row per series, day
        and cutoff, sorted in that order.
    forecasts : dict of str to Forecast
        By alias, ``{Model}_{treatment}``: the forecasts of the last cutoff, with their paths.
    all_forecasts : dict of (str, Timestamp) to Forecast
        By alias and cutoff; with their paths only if they were to be kept.
    left_out : pandas.DataFrame
        ``cutoff, unique_id, reason``: series of a window that got no forecast.
    level : tuple of float
        Levels of the central intervals, percent.
    models : tuple of str
        Aliases, in the order asked for.
    seconds : dict of str to float
        Seconds spent fitting and predicting, by alias, over all cutoffs.
    h : int
        Periods ahead.
    """

    frame: pd.DataFrame
    forecasts: dict[str, Forecast]
    left_out: pd.DataFrame
    level: tuple[float, ...]
    models: tuple[str, ...]
    seconds: dict[str, float]
    h: int
    all_forecasts: dict[tuple[str, pd.Timestamp], Forecast] = field(default_factory=dict)

    @property
    def cutoffs(self) -> list[pd.Timestamp]:
        """The cutoffs, earliest first."""
        return [pd.Timestamp(x) for x in sorted(self.frame[CUTOFF].unique())]

    def with_actuals(self, panel: pd.DataFrame) -> pd.DataFrame:
        """Join what came: sales, stock and flags, and the truth where the panel knows it.

        Parameters
        ----------
        panel : pandas.DataFrame
            The panel that was cross-validated.

        Returns
        -------
        pandas.DataFrame
            The frame, with the panel's outcome columns after ``cutoff``.

        Raises
        ------
        PanelError
            If the panel lacks a series and day that was forecast.
        """
        outcomes = [c for c in OUTCOMES if c in panel.columns]
        late = panel.loc[panel[DS] > self.frame[CUTOFF].min(), [ID, DS, *outcomes]]
        late = late.assign(
            **{ID: pd.Categorical(late[ID], categories=self.frame[ID].cat.categories)}
        )
        joined = self.frame[[ID, DS, CUTOFF]].merge(
            late, on=[ID, DS], how="left", validate="many_to_one", indicator=True
        )
        lost = (joined["_merge"] != "both").to_numpy()
        if lost.any():
            raise PanelError(
                f"the panel lacks {int(lost.sum())} forecast row(s), first "
                f"{joined[ID][lost].iloc[0]} on {joined[DS][lost].iloc[0].date()}; "
                "pass the panel that was cross-validated"
            )
        rest = self.frame.drop(columns=[ID, DS, CUTOFF])
        return pd.concat([joined.drop(columns="_merge"), rest], axis=1)
