"""A fitted regression survives being sent to another process."""

from __future__ import annotations

import pickle  # what multiprocessing and joblib send results by; nothing here is stored

import numpy as np
import pandas as pd
import pytest

from civstats.models.regression import CensoredLogNormal, CensoredNegBin, CensoredPoisson, Tobit


@pytest.mark.parametrize("model", [CensoredPoisson, CensoredNegBin, Tobit, CensoredLogNormal])
def test_a_formula_fit_comes_back_whole(model):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": rng.normal(size=300), "g": rng.choice(["a", "b"], 300)})
    mean = rng.gamma(2.0, np.exp(1 + 0.5 * data["x"]) / 2)
    data["y"] = 1.0 + rng.poisson(mean)
    data["cens"] = data["y"] > 4
    data.loc[7, "x"] = np.nan
    fit = model.from_formula("y ~ x + C(g)", data, censored="cens").fit()
    back = pickle.loads(pickle.dumps(fit))  # noqa: S301  written a moment ago
    pd.testing.assert_series_equal(back.params, fit.params)
    pd.testing.assert_series_equal(back.recovered(), fit.recovered())
    new = data.head(5).assign(g="b")
    pd.testing.assert_series_equal(back.predict(new), fit.predict(new))
    assert back.llnull == fit.llnull
