"""What is known of a day, as a network takes it: standardised numbers and category codes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from civstats.features.known import WEEK, known_features
from civstats.schema import ID, PRICE, STATIC

_HARMONICS = 2
_FAR = 5.0
"""Standard deviations beyond which a number is taken for that far: prices have typing errors."""


@dataclass(frozen=True)
class KnownCoding:
    """How known features become numbers and codes, learned once from a history.

    Attributes
    ----------
    numbers : dict
        Column to the mean and standard deviation of the history.
    categories : dict
        Column that changes from day to day to its labels; code k + 1 is label k, 0 any other.
    static : dict
        The same of attributes of the series.
    series_id : bool
    """

    numbers: dict[str, tuple[float, float]] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)
    static: dict[str, list[str]] = field(default_factory=dict)
    series_id: bool = False

    @classmethod
    def learn(cls, history: pd.DataFrame, *, series_id: bool = False) -> KnownCoding:
        """Learn from the keys, covariates and attributes of a panel."""
        frame = known_features(history, series_id=series_id)
        numbers = {}
        for name, x in _numbers(frame).items():
            seen = x[np.isfinite(x)]
            sd = float(seen.std()) if len(seen) else 0.0
            if sd > 1e-6:
                numbers[name] = (float(seen.mean()), sd)
        labels = {
            c: [str(v) for v in frame[c].cat.categories]
            for c in frame.columns
            if isinstance(frame[c].dtype, pd.CategoricalDtype) and len(frame[c].cat.categories) > 1
        }
        n_series = history[ID].nunique()
        static = {
            # An attribute that no two series share is the series under another name.
            c: v
            for c, v in labels.items()
            if c == ID or (c in STATIC and len(v) < n_series)
        }
        categories = {c: v for c, v in labels.items() if c not in (*STATIC, ID)}
        return cls(numbers, categories, static, series_id)

    @property
    def names(self) -> list[str]:
        """Features that change from day to day, in the order of their columns."""
        return [*self.numbers, *self.categories]

    def of(self, history: pd.DataFrame, future: pd.DataFrame | None = None) -> np.ndarray:
        """Return the features of rows, float32, shape (n_rows, n_names).

        Rows of `future` if given, otherwise of `history`.
        """
        frame = known_features(history, future)
        out = np.zeros((len(frame), len(self.names)), dtype=np.float32)
        numbers = _numbers(frame)
        for j, (name, (mean, sd)) in enumerate(self.numbers.items()):
            if name in numbers:
                x = (numbers[name] - mean) / sd
                out[:, j] = np.clip(np.where(np.isfinite(x), x, 0.0), -_FAR, _FAR)
        for j, (name, labels) in enumerate(self.categories.items(), len(self.numbers)):
            if name in frame.columns:
                out[:, j] = _codes(frame[name], labels)
        return out

    def of_series(self, history: pd.DataFrame, starts: np.ndarray) -> np.ndarray:
        """Return the codes of attributes, float32, shape (n_series, n_static).

        Parameters
        ----------
        history : pandas.DataFrame
        starts : numpy.ndarray of int, shape (n_series,)
            A row of each series.
        """
        out = np.zeros((len(starts), len(self.static)), dtype=np.float32)
        for j, (name, labels) in enumerate(self.static.items()):
            if name in history.columns:
                out[:, j] = _codes(history[name].iloc[starts], labels)
        return out


def _codes(values: pd.Series, labels: list[str]) -> np.ndarray:
    position = pd.Index(labels).get_indexer(values.cat.categories.astype(str))
    return np.r_[position, -1][values.cat.codes.to_numpy()].astype(np.float32) + 1


def _numbers(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return numbers that a linear layer can use: periods as waves and indicators, price as log."""
    out: dict[str, np.ndarray] = {}
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype) or name in ("month", "week_of_year"):
            continue
        x = frame[name].to_numpy(dtype=np.float32)
        if name == "day_of_week":
            out |= {f"{name}_{d}": (x == d).astype(np.float32) for d in range(WEEK)}
        elif name == "year_position":
            for k in range(1, _HARMONICS + 1):
                out[f"year_sin_{k}"] = np.sin(2 * np.pi * k * x)
                out[f"year_cos_{k}"] = np.cos(2 * np.pi * k * x)
        elif name == PRICE:
            out[name] = np.log(np.maximum(x, 1e-3))
        else:
            out[name] = x
    return out
