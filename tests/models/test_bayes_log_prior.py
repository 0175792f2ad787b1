"""Log densities of named priors, for power-scaling: PyMC's own, those at the top alone."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

for _name in ("pymc", "xarray"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(f"{_name} is not installed", allow_module_level=True)

from civstats.models.bayes import BayesDemand  # noqa: E402
from civstats.models.bayes._layout import lay_out  # noqa: E402
from civstats.models.bayes._posterior import prior_densities  # noqa: E402
from tests.models.test_bayes import make_panel  # noqa: E402

CONDITIONAL = (
    "level", "item_level", "department_effect", "store_effect", "department_coefficient"
)  # fmt: skip


@pytest.mark.parametrize("family", ["zero_inflated_negbin", "normal"])
def test_priors_at_the_top_have_pymcs_density_and_nothing_else_is_scaled(family):
    import pymc as pm

    from civstats.demand_filter.covariates import OffsetDesign

    panel = make_panel(35)
    model = BayesDemand(harmonics=0, family=family)
    drawn = model.prior_draws(panel, 6, seed=0)
    posterior = (
        drawn.drop_vars("demand")
        .assign_coords(chain=("sample", np.repeat([0, 1], 3)), draw=("sample", [0, 1, 2] * 2))
        .set_index(sample=["chain", "draw"])
        .unstack("sample")
        .transpose("chain", "draw", ...)
    )
    layout = lay_out(panel, OffsetDesign.learn(panel, harmonics=0), "week")
    found = prior_densities(posterior, model.priors, layout)

    # Everything in the posterior is a prior of its own, or conditional on one.
    assert set(found) == {str(n) for n in posterior} - set(CONDITIONAL)
    assert {"level", "department_coefficient"} & {str(n) for n in posterior}
    for name, density in found.items():
        value = posterior[name].to_numpy()
        with pm.Model() as one:
            if name == "coefficient":
                pm.Normal(name, 0.0, layout.prior_sd, shape=value.shape[2:])
            else:
                getattr(model.priors, name).variable(name, shape=value.shape[2:])
        expected = pm.logp(one[name], value.reshape(-1, *value.shape[2:])).eval()
        expected = expected.reshape(*value.shape[:2], -1).sum(axis=-1)
        # PyMC's half-normal rounds its constant: 2e-9, the same at every draw.
        np.testing.assert_allclose(density, expected, rtol=1e-7, atol=1e-7, err_msg=name)
