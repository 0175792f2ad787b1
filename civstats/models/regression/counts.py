"""Censored Poisson and negative binomial regression, log link."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from civstats.censoring import IntervalParts, NegBin, Poisson, fit_dispersion
from civstats.censoring._check import settled
from civstats.models.regression.base import CensoredModel
from civstats.models.regression.results import CensoredResults


class CensoredPoisson(CensoredModel):
    """Poisson regression of counts, some of them lower bounds (Terza, 1985).

    Parameters are those of :class:`CensoredModel`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.models.regression import CensoredPoisson
    >>> rng = np.random.default_rng(0)
    >>> data = pd.DataFrame({"price": rng.uniform(1, 2, 4000)})
    >>> demand = rng.poisson(np.exp(3 - data["price"]))
    >>> data["y"] = np.minimum(demand, 6)
    >>> data["is_censored"] = demand >= 6
    >>> fit = CensoredPoisson.from_formula("y ~ price", data, censored="is_censored").fit()
    >>> bool((abs(fit.params - [3, -1]) < 2 * fit.bse).all())
    True
    """

    def _check_data(self) -> None:
        y = settled(self.endog)
        whole = y == np.rint(y)
        self._refuse(
            "endog",
            ~((y >= 0) & whole),
            "must hold whole numbers >= 0 for a count family, but {} are not: rescale to units, "
            "drop the rows, or use a continuous family",
        )
        self._refuse(
            "exposure",
            (self._share == 0) & (y > 0),
            "must be positive where anything was sold, but {} are 0 with endog > 0",
        )
        # 3.0000001 is 3 wherever the model looks at it.
        self.endog = self.data.endog = y

    def _faces(self) -> tuple[np.ndarray, np.ndarray]:
        y, seen = np.asarray(self.endog), np.broadcast_to(self._share > 0, self.endog.shape)
        rising, zero = self.censored & (y > 0), ~self.censored & (y == 0) & seen
        above = np.vstack([self.exog[rising], -self.exog[zero]])
        return self.exog[~self.censored & (y > 0)], above

    def family(self, params: ArrayLike) -> Poisson | NegBin:
        """Return the Poisson family."""
        return Poisson()

    def kinds(self) -> dict[str, np.ndarray]:
        """Return which rows are right-, left- and interval-censored."""
        none = np.zeros_like(self.censored)
        return {"right": self.censored, "left": none, "interval": none}

    def expected(self, params: ArrayLike) -> np.ndarray:
        """Return the demand expected of each row of the model given what was observed of it."""
        eta = self.linear(params)
        above = self.family(params).conditional_mean(self.endog, eta, self._share)
        return np.where(self.censored, above, self.endog)

    def null_model(self) -> CensoredPoisson:
        """Return the same model with a constant only."""
        ones = np.ones((self.endog.size, 1))
        return type(self)(self.endog, ones, self.censored, self.exposure, self.offset)

    @property
    def start_params(self) -> np.ndarray:
        """Least squares of log(y + 1/2) net of exposure and offset."""
        base = np.zeros(()) if self.offset is None else self.offset
        level = np.log(self.endog + 0.5) - np.log(np.maximum(self._share, 1e-3)) - base
        return np.linalg.lstsq(self.exog, level, rcond=None)[0]

    def _row_parts(self, eta: np.ndarray, params: np.ndarray) -> IntervalParts:
        family = self.family(params)
        value = family.loglik(self.endog, eta, self.censored, self._share)
        first, second = family.grad_hess(self.endog, eta, self.censored, self._share)
        none = np.zeros_like(value)
        return IntervalParts(value, first, second, none, none, none)


class NegBinResults(CensoredResults):
    """Adds the dispersion and its standard error."""

    @property
    def dispersion(self) -> float:
        """Return the dispersion, ``exp(log_dispersion)``."""
        return float(np.exp(self.params[-1]))

    @property
    def dispersion_se(self) -> float:
        """Return its standard error by the delta method."""
        return float(self.dispersion * self.bse[-1])

    @property
    def alpha(self) -> float:
        """Return statsmodels' ``alpha = 1 / dispersion``."""
        return 1.0 / self.dispersion


class CensoredNegBin(CensoredPoisson):
    """Negative binomial regression, variance mu + mu^2 / dispersion, of possibly censored counts.

    The last parameter is ``log_dispersion``. statsmodels' ``alpha`` is ``1 / dispersion``. Where
    the data are no more dispersed than the Poisson the likelihood is flat in it: a
    ``ConvergenceWarning`` or a huge standard error says so, and :class:`CensoredPoisson` is the
    model to use.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from civstats.censoring import NegBin
    >>> from civstats.models.regression import CensoredNegBin
    >>> rng = np.random.default_rng(0)
    >>> data = pd.DataFrame({"price": rng.uniform(1, 2, 20000)})
    >>> demand = NegBin(2.0).sample(3 - data["price"].to_numpy(), rng)
    >>> data["y"], data["is_censored"] = np.minimum(demand, 6), demand >= 6
    >>> fit = CensoredNegBin.from_formula("y ~ price", data, censored="is_censored").fit()
    >>> round(float(np.exp(fit.params["log_dispersion"])), 1)
    2.0
    """

    results_class = NegBinResults
    extra_names = ("log_dispersion",)
    # Sums run over the count itself: beyond this a fit would take hours.
    largest = 1e7

    def _check_data(self) -> None:
        super()._check_data()
        self._refuse(
            "endog",
            np.asarray(self.endog) > self.largest,
            f"must not exceed {self.largest:.0e} for the negative binomial, but {{}} do: rescale "
            "the units, or use CensoredLogNormal",
        )

    def family(self, params: ArrayLike) -> NegBin:
        """Return the negative binomial family at these parameters."""
        return NegBin(float(np.exp(np.clip(np.asarray(params)[-1], -30.0, 30.0))))

    @property
    def start_params(self) -> np.ndarray:
        """Poisson estimates, and the dispersion that fits best at their means."""
        poisson = CensoredPoisson(self.endog, self.exog, self.censored, self.exposure, self.offset)
        beta = np.asarray(poisson.fit(warn_convergence=False).params)
        mu = np.maximum(poisson.predict(beta), 1e-12)
        dispersion = fit_dispersion(self.endog, mu, self.censored, n_threads=1)
        return np.append(beta, np.log(min(dispersion, 1e3)))

    def _row_parts(self, eta: np.ndarray, params: np.ndarray) -> IntervalParts:
        parts = super()._row_parts(eta, params)
        family = self.family(params)
        t, tt, cross = family.dispersion_derivatives(self.endog, eta, self.censored, self._share)
        return parts._replace(log_scale=t, log_scale2=tt, cross=cross)
