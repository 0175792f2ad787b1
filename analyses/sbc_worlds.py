"""Worlds of `sbc_study.py`: truth from the model's own prior, sales cut by a stock, draws given them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from civstats.schema import CENSORED, DS, ID, OUTCOMES, STOCK, Y, validate_panel

if TYPE_CHECKING:
    from civstats.models.bayes import BayesDemand, Priors

DAYS, AHEAD = 42, 14
"""Days of history, and days of the forecast whose total is ranked: whole weeks."""
STOCKS = (2, 3, 5, 8, 30)
"""Units on the shelf, drawn apart from demand: a third to a half of all days end empty."""
PLANTED = "planted: D > y"
CASES: dict[str, dict[str, Any]] = {
    "poisson": {"family": "poisson", "drift": None, "departments": 1, "series": 4},
    "negbin": {"family": "negbin", "drift": None, "departments": 1, "series": 4},
    "hierarchical negbin": {"family": "negbin", "drift": "week", "departments": 2, "series": 8},
    PLANTED: {"family": "negbin", "drift": None, "departments": 1, "series": 4},
}
"""The planted error takes a bound for demand above what was sold, not for at least that much."""
TOTAL, LOST, VALUE = "forecast total", "lost units", "value of lost units"


@dataclass(frozen=True)
class Replicate:
    """One truth and the sales it left.

    Attributes
    ----------
    panel : pandas.DataFrame
        History, sales cut by stock.
    truth : dict
        By quantity; NaN where there is nothing to rank.
    number : int
    """

    panel: pd.DataFrame
    truth: dict[str, np.ndarray | float]
    number: int


def narrow_priors() -> Priors:
    """Priors that make worlds a shelf of a few units can tell of: their values are not the point."""
    from civstats.models.bayes import Prior, Priors

    return Priors(
        intercept=Prior("normal", 1.0, 0.6),
        department_sd=Prior("half_normal", 0.5),
        series_sd=Prior("half_normal", 0.5),
        drift_sd=Prior("log_normal", -2.0, 0.5),
        dispersion=Prior("log_normal", 0.7, 0.6),
    )


def template(case: str, seed: int) -> pd.DataFrame:
    """Return the days of history and forecast with their stock, sales still zero."""
    made = CASES[case]
    days = pd.date_range("2024-01-01", periods=DAYS + AHEAD)
    n = made["series"]
    stock = np.random.default_rng([seed, 11]).choice(STOCKS, size=(n, len(days)))
    frame = pd.DataFrame(
        {
            ID: np.repeat([f"s{k:02d}" for k in range(n)], len(days)),
            DS: np.tile(days, n),
            Y: np.float32(0),
            STOCK: stock.ravel().astype(np.float32),
            CENSORED: False,
            "dept_id": np.repeat([f"D{k % made['departments']}" for k in range(n)], len(days)),
        }
    )
    return validate_panel(frame)


def build_model(case: str, sampling: dict[str, int]) -> BayesDemand:
    """Return the model of a case, unfitted."""
    from civstats.models.bayes import BayesDemand

    made = CASES[case]
    return BayesDemand(
        treatment="censor",
        family=made["family"],
        drift=made["drift"],
        covariates=False,
        priors=narrow_priors(),
        n_jobs=1,
        **sampling,
    )


def margins(n: int) -> np.ndarray:
    """Money a unit of each series earns, fixed."""
    return np.linspace(0.5, 3.0, n)


def replicates(case: str, n: int, seed: int, model: BayesDemand) -> Iterator[Replicate]:
    """Yield worlds drawn from the prior."""
    whole = template(case, seed)
    prior = model.prior_draws(whole, n, seed)
    demand = prior["demand"].transpose("sample", "row").to_numpy()
    past = (whole[DS] < whole[DS].min() + pd.Timedelta(days=DAYS)).to_numpy()
    stock = whole[STOCK].to_numpy(dtype=float)
    n_series = whole[ID].nunique()
    money = np.repeat(margins(n_series), DAYS)
    for k in range(n):
        sold, out = np.minimum(demand[k], stock), demand[k] >= stock
        panel = whole[past].assign(
            **{Y: sold[past].astype(np.float32), CENSORED: out[past]}, **{STOCK: stock[past]}
        )
        lost = (demand[k] - sold)[past]
        truth: dict[str, np.ndarray | float] = {
            str(name): np.atleast_1d(
                _in_history(value.isel(sample=k).to_numpy(), str(name), n_series)
            )
            for name, value in prior.data_vars.items()
            if name != "demand"
        }
        truth[TOTAL] = float(demand[k][~past].sum())
        truth[LOST] = float(lost.sum()) if out[past].any() else float("nan")
        truth[VALUE] = float(lost @ money) if out[past].any() else float("nan")
        yield Replicate(validate_panel(panel), truth, k)


def _in_history(value: np.ndarray, name: str, n_series: int) -> np.ndarray:
    """Keep the levels of weeks that the model will see."""
    if name != "level":
        return value
    by_series = value.reshape(n_series, -1)
    weeks = DAYS // 7 if by_series.shape[1] > 1 else 1
    return by_series[:, :weeks].ravel()


def draw(model: BayesDemand, one: Replicate, case: str, n_draws: int) -> dict[str, np.ndarray]:
    """Fit a replicate and return draws of everything whose truth is known."""
    panel = one.panel
    if case == PLANTED:
        # D > y is D >= y + 1: the error that `1 - F(y)` for a bound makes.
        more = panel[CENSORED].astype(np.float32)
        panel = panel.assign(**{Y: panel[Y] + more, STOCK: panel[STOCK] + more})
    model.seed = 1000 + one.number
    # More than are kept: of just as many, the ESS that is watched would be an estimate from too few.
    n_draws = min(4 * n_draws, model.draws * model.chains)
    model.fit(panel)
    posterior = model.idata_.posterior
    out = {
        str(name): posterior[name].transpose("chain", "draw", ...).to_numpy()
        for name in posterior.data_vars
    }
    out = {name: x.reshape(*x.shape[:2], -1) for name, x in out.items()}
    future = template(case, 0)
    future = future[future[DS] > panel[DS].max()].drop(
        columns=[c for c in OUTCOMES if c in future.columns]
    )
    paths = model.predict(future, level=(80,), n_paths=n_draws, seed=one.number).paths
    out[TOTAL] = paths.sum([ID, DS]).to_numpy()[None]
    if panel[CENSORED].any():
        found = model.recover(levels=(80,), n_draws=n_draws, seed=one.number)
        sold = panel[Y].to_numpy(dtype=float)[found.rows]
        lost = found.samples - sold[:, None]
        codes = panel[ID].cat.codes.to_numpy()[found.rows]
        out[LOST] = lost.sum(axis=0)[None]
        out[VALUE] = (margins(panel[ID].nunique())[codes] @ lost)[None]
    return out
