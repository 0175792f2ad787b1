"""What a censored lower bound is made of: known stock, thresholds tried, chances learnt once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from civstats.conformal._rows import Parts, outcomes, read
from civstats.conformal.chances import Chance
from civstats.conformal.features import chance_features
from civstats.conformal.quantiles import censored_lower_bound
from civstats.schema import (
    CENSORED,
    DS,
    FLAG_KNOWN,
    ID,
    IN_STOCK_SHARE,
    STOCK,
    CivstatsError,
    PanelError,
    Y,
)

MULTIPLES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Thresholds tried, in forecast means."""
_CLOSE = 0.95

Threshold = float | str | Callable[[pd.DataFrame], np.ndarray]


class StockRows:
    """Sales and stock of forecast rows."""

    def __init__(self, rows: pd.DataFrame, panel: pd.DataFrame, unknown_stock: str) -> None:
        if unknown_stock not in ("refuse", "plenty"):
            raise CivstatsError(
                f"unknown_stock must be refuse or plenty, but got {unknown_stock!r}"
            )
        if STOCK not in panel.columns:
            panel = panel.assign(**{STOCK: np.float32(np.nan)})
        extra = [c for c in (CENSORED, FLAG_KNOWN, IN_STOCK_SHARE) if c in panel.columns]
        frame = outcomes(rows, panel, [Y, STOCK, *extra])
        self.sales = frame[Y].to_numpy(dtype=float)
        stock = frame[STOCK].to_numpy(dtype=float)
        unknown = np.isnan(stock)
        if unknown_stock == "plenty":
            in_stock = np.ones(len(frame), dtype=bool)
            if CENSORED in extra:
                in_stock &= ~frame[CENSORED].to_numpy(dtype=bool)
            if FLAG_KNOWN in extra:
                in_stock &= frame[FLAG_KNOWN].to_numpy(dtype=bool)
            stock = np.where(unknown & in_stock, np.inf, stock)
            unknown &= ~in_stock
        if unknown.any():
            first = rows[unknown].iloc[0]
            mend = (
                "" if unknown_stock == "plenty" else "unknown_stock='plenty' if it was ample, or "
            )
            raise PanelError(
                f"stock is not known on {int(unknown.sum())} of {len(rows)} calibration row(s), first "
                f"{first[ID]} on {first[DS].date()}; pass {mend}use "
                "split_conformal(stockouts='keep'), whose lower end needs none"
            )
        above = self.sales > stock
        if above.any():
            raise PanelError(f"{int(above.sum())} calibration row(s) sell more than their stock")
        if IN_STOCK_SHARE in extra:
            # Sales of part of a day are no min(demand, stock): below any threshold, never selected.
            part = frame[IN_STOCK_SHARE].to_numpy(dtype=float) < 1
            stock, self.sales = np.where(part, -1.0, stock), np.where(part, -1.0, self.sales)
        self.stock = stock


class Bounder:
    """One model's rows: thresholds tried and chances learnt once for all levels."""

    def __init__(
        self,
        parts: Parts,
        facts: list[StockRows],
        panel: pd.DataFrame,
        future: pd.DataFrame | None,
        chance: Chance,
        means: list[np.ndarray],
        spreads: list[np.ndarray],
    ) -> None:
        self.rows = (parts.training, parts.calibration, parts.test)
        self.late = parts.n_late
        self.facts, self.means, self.spreads = facts, means, spreads
        self.learn = chance
        self.features = [
            chance_features(x, panel, m, m, f)
            for x, m, f in zip(self.rows, means, (None, None, future), strict=True)
        ]
        self._kept: dict[float, tuple[list[np.ndarray], list[np.ndarray]]] = {}

    def bound(
        self, column: str, threshold: Threshold, level: float, groups: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, list[dict]]:
        """Lower bounds of the test rows, before rounding, and how those of each group came about."""
        p = 1 - (1 - level / 100) / 2
        centres = [read(x, column) for x in self.rows]
        bound, details = np.empty(len(self.rows[2])), []
        for group in pd.unique(groups[2]):
            rows = [np.flatnonzero(g == group) for g in groups]
            multiple = threshold
            if isinstance(threshold, str):
                multiple = self._highest(threshold, centres, rows, p)
            units, chances = self._selection(multiple)
            mine = self._lower(centres, units, chances, p, (1, rows[1]), (2, rows[2]))
            bound[rows[2]] = mine
            kept = self.facts[1].stock[rows[1]] >= units[1][rows[1]]
            w = 1 / chances[1][rows[1]][kept]
            details.append(
                {
                    "group": group,
                    "threshold": np.nan if callable(multiple) else float(multiple),
                    "n": len(kept),
                    "kept": int(kept.sum()),
                    "effective": float(w.sum() ** 2 / (w**2).sum()) if len(w) else 0.0,
                    "late": self.late,
                    "lowest_chance": float(chances[2][rows[2]].min()),
                    "vacuous": float((mine <= 0).mean()),
                }
            )
        return bound, details

    def _highest(
        self, threshold: str, centres: list[np.ndarray], rows: list[np.ndarray], p: float
    ) -> float:
        """The multiple for high bounds on the training rows, which are not calibrated on."""
        if threshold != "auto":
            raise CivstatsError(
                f"threshold must be a number, 'auto' or a function, but got {threshold!r}"
            )
        train = (0, rows[0])
        height = {1.0: 0.0}
        for k in MULTIPLES if len(rows[0]) else ():
            found = self._lower(centres, *self._selection(k), p, train, train)
            height[k] = float(np.maximum(found, 0).mean())
        # The least of those that come close: the higher the threshold, the more hangs on the weights.
        return min(k for k in height if height[k] >= _CLOSE * max(height.values()))

    def _lower(
        self,
        centres: list[np.ndarray],
        units: list[np.ndarray],
        chances: list[np.ndarray],
        p: float,
        old: tuple[int, np.ndarray],
        new: tuple[int, np.ndarray],
    ) -> np.ndarray:
        """Bounds of some rows of one part, calibrated on some rows of one part."""
        (i, at), (j, to) = old, new
        return censored_lower_bound(
            sales=self.facts[i].sales[at],
            stock=self.facts[i].stock[at],
            centre=centres[i][at],
            threshold=units[i][at],
            chance=chances[i][at],
            scale=self.spreads[i][at],
            new_centre=centres[j][to],
            new_threshold=units[j][to],
            new_chance=chances[j][to],
            new_scale=self.spreads[j][to],
            probability=p,
        )

    def _selection(self, threshold: Threshold) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Thresholds in units and chances that stock reaches them, for the three kinds of rows."""
        key = np.nan if callable(threshold) else float(threshold)
        if key in self._kept:
            return self._kept[key]
        if callable(threshold):
            units = [np.asarray(threshold(x), dtype=float) for x in self.rows]
        else:
            if not np.isfinite(key) or key <= 0:
                raise CivstatsError(f"threshold must be a positive multiple, but got {threshold!r}")
            units = [np.maximum(np.ceil(key * m - 1e-9), 1.0) for m in self.means]
        features = [x.assign(threshold=u) for x, u in zip(self.features, units, strict=True)]
        kept = self.facts[0].stock >= units[0]
        # All three at once: the training rows' own chances serve the choice of the threshold.
        every = pd.concat(features, ignore_index=True)
        found = np.asarray(self.learn(features[0], kept, every), dtype=float)
        if found.shape != (len(every),) or not ((found > 0) & (found <= 1)).all():
            raise CivstatsError("chance must return a number in (0, 1] for every row")
        cuts = np.cumsum([len(x) for x in features])[:-1]
        chances = np.split(found, cuts)
        if not callable(threshold):
            self._kept[key] = units, chances
        return units, chances
