"""Where lost units went, read from a panel: what sisters and the days after sell more than usual."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from civstats.schema import DS, ID, CivstatsError, Y, stockout_days

_WINDOW = 28
STORE_ID, DEPT_ID = "store_id", "dept_id"


@dataclass(frozen=True)
class RecaptureEstimate:
    """Shares of lost units that came back into view, with standard errors.

    Attributes
    ----------
    substitute, later : float
        Least-squares shares: of the units lost that day by sisters; of those that the item itself
        lost in the `within_days` days before. May lie outside [0, 1] by chance.
    substitute_se, later_se : float
        From resampling blocks of weeks (all series of a week stay together).
    draws : numpy.ndarray, shape (n_boot, 2)
        Resampled shares.
    within_days : int
    """

    substitute: float
    later: float
    substitute_se: float
    later_se: float
    draws: np.ndarray
    within_days: int

    def total(
        self,
        n: int,
        seed: int | np.random.Generator = 0,
        *,
        prior: tuple[float, float] = (0.5, 0.2),
    ) -> np.ndarray:
        """Draw the total share for `net_gains`, shape (n,): estimate and prior weighed together.

        Normal likelihood of the total, normal prior of that mean and sd, cut to [0, 1].
        """
        spread = float(self.draws.sum(axis=1).std(ddof=1))
        weight = 1 / spread**2, 1 / prior[1] ** 2
        mean = (weight[0] * (self.substitute + self.later) + weight[1] * prior[0]) / sum(weight)
        from scipy.stats import truncnorm

        sd = sum(weight) ** -0.5
        bounds = (0 - mean) / sd, (1 - mean) / sd
        return np.asarray(
            truncnorm.rvs(*bounds, mean, sd, size=n, random_state=np.random.default_rng(seed))
        )


def estimate_recapture(
    panel: pd.DataFrame,
    lost: np.ndarray,
    *,
    within_days: int = 3,
    n_boot: int = 200,
    seed: int = 0,
) -> RecaptureEstimate:
    """Estimate which share of lost units sisters sold that day, or the item itself later.

    On days in stock, sales (less the series' moving mean over its days in stock and its weekday
    profile) are regressed on two things treated alike: the units lost that day by the other items
    of the same store and department, shared evenly among those in stock; and the mean of the units
    that the item itself lost on each of the last `within_days` days. The department's common ups
    and downs of a day are not taken out, since substitution is one of them.

    What it rests on: lost units are known or recovered without the sisters' help, and outages come
    at random given level and weekday: then it is consistent. Where demand itself empties shelves
    it is not: a sister that sells out because of the customers it inherits is no day in stock and
    drops out, so `substitute` is about half of the truth on simulated inventory worlds (0.12 of
    0.30, 0.20 of 0.50, at 15 % stockouts), and `later` 0.05 to 0.10 too much, as a shelf that was
    empty was so after busy days. Together they are a lower bound there (0.42 of 0.50, 0.37 of
    0.60). Shocks that lift a whole
    department on days on which its items run out (a feast, the sun) pull the other way.

    Parameters
    ----------
    panel : pandas.DataFrame
        A validated panel with flags, ``store_id`` and ``dept_id``.
    lost : numpy.ndarray, shape (n_rows,)
        Expected units lost per row, 0 on days in stock (a recovery's ``lost``).
    within_days : int
        Longest wait of a customer who comes back.
    n_boot : int
        Resamples of weeks.
    seed : int

    Returns
    -------
    RecaptureEstimate

    Raises
    ------
    CivstatsError
        Without store or department, or with lost units that do not fit or are nowhere.
    """
    missing = [c for c in (STORE_ID, DEPT_ID) if c not in panel.columns]
    if missing:
        raise CivstatsError(f"sisters are told by {', '.join(missing)}, which the panel lacks")
    lost = np.asarray(lost, float)
    if (
        lost.shape != (len(panel),)
        or not (np.isfinite(lost) & (lost >= 0)).all()
        or lost.sum() == 0
    ):
        raise CivstatsError(
            f"lost must hold {len(panel)} numbers of 0 or more, not all 0: a recovery's lost units"
        )
    out = stockout_days(panel)
    frame = pd.DataFrame(
        {
            "series": panel[ID].cat.codes.to_numpy(),
            "day": panel[DS].to_numpy(),
            "y": panel[Y].to_numpy(float),
            "lost": lost,
            "open": ~out,
            "group": panel.groupby([STORE_ID, DEPT_ID], observed=True).ngroup().to_numpy(),
        }
    )
    by_day = frame.groupby(["group", "day"])
    n_open = by_day["open"].transform("sum").to_numpy()
    others = by_day["lost"].transform("sum").to_numpy() - lost
    sisters = others / np.maximum(n_open, 1)
    own = np.zeros(len(frame))
    for k in range(1, within_days + 1):
        shifted = frame.groupby("series")["lost"].shift(k).fillna(0.0).to_numpy()
        own += shifted / within_days
    kind = panel[DS].dt.dayofweek.to_numpy()
    usable = frame["open"].to_numpy()
    # Recapture itself is part of the moving mean: the regressors pass through the same filter.
    columns = [frame["y"].to_numpy(), sisters, own]
    left = [_less_usual(x, frame, usable, kind) for x in columns]
    weight = 1.0 / np.maximum(_usual(frame["y"].to_numpy(), frame, usable), 0.1)
    keep = usable & np.isfinite(left[0])
    week = (frame["day"].to_numpy().astype("datetime64[D]").astype(int) // 7)[keep]
    codes = pd.factorize(week)[0]
    y, x1, x2 = (v[keep] for v in left)
    w = weight[keep]
    parts = np.stack(
        [np.bincount(codes, w * v) for v in (x1 * x1, x1 * x2, x2 * x2, x1 * y, x2 * y)]
    )
    point = _solve(parts.sum(axis=1))
    n = parts.shape[1]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), n_boot)
    draws = np.stack([_solve(parts @ c) for c in counts])
    se = draws.std(axis=0, ddof=1)
    return RecaptureEstimate(
        float(point[0]), float(point[1]), float(se[0]), float(se[1]), draws, within_days
    )


def _solve(s: np.ndarray) -> np.ndarray:
    matrix = np.array([[s[0], s[1]], [s[1], s[2]]])
    return np.linalg.solve(matrix + 1e-12 * np.trace(matrix) * np.eye(2), s[3:])


def _usual(x: np.ndarray, frame: pd.DataFrame, usable: np.ndarray) -> np.ndarray:
    """Centred moving mean over a series' days in stock."""
    masked = pd.Series(np.where(usable, x, np.nan)).groupby(frame["series"].to_numpy())
    mean = masked.rolling(2 * _WINDOW + 1, center=True, min_periods=10).mean()
    return mean.reset_index(level=0, drop=True).sort_index().to_numpy()


def _less_usual(
    x: np.ndarray, frame: pd.DataFrame, usable: np.ndarray, kind: np.ndarray
) -> np.ndarray:
    """Take off a series' usual value and its group's weekday profile."""
    rest = np.where(usable, x - _usual(x, frame, usable), np.nan)
    cell = frame["series"].to_numpy() * 7 + kind
    return rest - pd.Series(rest).groupby(cell).transform("mean").to_numpy()
