"""What days say of coefficients: against dense algebra; the pooled coefficients' density."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy import stats

from civstats.demand_filter.layout import EXACT, observations
from civstats.models.bayes._known import Known, tell

for _name in ("pymc", "nutpie"):
    if importlib.util.find_spec(_name) is None:
        pytest.skip(f"{_name} is not installed", allow_module_level=True)

from tests.models.test_bayes import make_panel  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:PyTensor could not link to a BLAS:UserWarning")


def test_information_is_that_with_the_levels_integrated_out():
    """Against the inverse of the whole matrix of information, levels and coefficients together."""
    from civstats.censoring import Poisson
    from civstats.demand_filter.covariates import OffsetDesign
    from civstats.models.bayes._layout import lay_out, read_sales

    panel = make_panel(35)
    design = OffsetDesign.learn(panel, harmonics=0)
    layout = lay_out(panel, design, "week")
    sales = read_sales(panel, layout, "mask", "poisson")
    rng = np.random.default_rng(0)
    k, n = layout.matrix.shape[1], len(layout.names["department"])
    level, beta = rng.normal(0, 0.3, layout.n_nodes), rng.normal(0, 0.2, (n, k))
    offset = (layout.matrix * beta[layout.row_department]).sum(axis=1)
    obs = observations(panel, "mask")
    share = np.ones(len(panel)) if obs.exposure is None else obs.exposure
    mean = np.exp(level[layout.node] + offset) * share
    weight = np.where(obs.kind == EXACT, mean, 0.0)
    info = np.bincount(layout.node, weight, minlength=layout.n_nodes)
    drift = np.array([0.2, 0.5])
    found = tell(layout, sales, Poisson(), offset, beta, level, info, drift)
    for d in range(n):
        rows = np.flatnonzero(layout.row_department == d)
        nodes = np.flatnonzero(layout.department[layout.node_series] == d)
        x = layout.matrix[rows].astype(float)
        z = (layout.node[rows][:, None] == nodes).astype(float)
        w = weight[rows][:, None]
        walk = np.zeros((len(nodes), len(nodes)))
        for a, node in enumerate(nodes):
            if node in layout.starts:
                walk[a, a] += 1.0
            else:
                walk[np.ix_([a - 1, a], [a - 1, a])] += np.array([[1, -1], [-1, 1]]) / drift[d] ** 2
        expected = x.T @ (w * x) - x.T @ (w * z) @ np.linalg.solve(
            z.T @ (w * z) + walk, z.T @ (w * x)
        )
        np.testing.assert_allclose(found.information[d], expected, rtol=1e-6, atol=1e-6)
        slope = np.where(obs.kind == EXACT, obs.y - mean, 0.0)[rows] @ x
        np.testing.assert_allclose(found.slope[d], slope, rtol=1e-6, atol=1e-6)


def test_directions_part_prior_and_likelihood():
    """Departments that agree: mean and covariance are those of the linear regression."""
    rng = np.random.default_rng(2)
    k, scale = 4, np.array([0.5, 1.0, 0.2, 2.0])
    x = rng.normal(size=(3, 30, k))
    x[:, :, 1] = x[:, :, 0] + 0.1 * rng.normal(size=(3, 30))  # known together, not apart
    truth = np.array([0.3, -0.2, 0.1, 0.4])
    y = x @ truth + rng.normal(size=(3, 30))
    at = rng.normal(0, 0.1, (3, k))
    slope = np.stack([a.T @ (b - a @ c) for a, b, c in zip(x, y, at, strict=True)])
    information = np.stack([a.T @ a for a in x])
    between = np.full(k, 1e-9)
    import civstats.models.bayes._known as module

    before, module._LEAST_SD = module._LEAST_SD, 1e-9
    try:
        turn, hint, strength = Known(at, slope, information).together(scale, between)
    finally:
        module._LEAST_SD = before
    np.testing.assert_allclose(turn.T @ turn, np.eye(k), atol=1e-12)
    covariance = np.linalg.inv(information.sum(axis=0) + np.diag(scale**-2.0))
    made = turn * scale[:, None]
    np.testing.assert_allclose(made @ np.diag(1 / (1 + strength)) @ made.T, covariance, rtol=1e-6)
    mean = covariance @ np.einsum("dnk,dn->k", x, y)
    np.testing.assert_allclose(made @ (strength * hint / (1 + strength)), mean, rtol=1e-6)


def test_departments_know_events_of_the_same_days_by_their_sum():
    """Directions are orthogonal, within blocks, and part what the days say."""
    rng = np.random.default_rng(3)
    block = np.array([0, 1, 1, 0, 1])
    x = rng.normal(size=(2, 60, 5))
    x[:, :, 2] = x[:, :, 1]
    information = np.einsum("dnk,dnl->dkl", x, x)
    at, truth = rng.normal(size=(2, 5)), rng.normal(size=(2, 5)) * 0.05
    slope = np.einsum("dkl,dl->dk", information, truth)
    turn, hint, strength = Known(at, slope, information).apart(block)
    for d in range(2):
        np.testing.assert_allclose(turn[d] @ turn[d].T, np.eye(5), atol=1e-12)
        assert (turn[d][block[:, None] != block] == 0).all()
        for b in (0, 1):
            own = block == b
            v = turn[d][np.ix_(own, own)]
            parted = v.T @ information[d][np.ix_(own, own)] @ v
            np.testing.assert_allclose(parted, np.diag(strength[d][own]), atol=1e-8)
        unknown = turn[d][:, int(np.argmin(strength[d]))]
        np.testing.assert_allclose(abs(unknown), [0, 2**-0.5, 2**-0.5, 0, 0], atol=1e-6)
        assert strength[d].min() < 1e-8
        # One Newton step where something is known, a stay where nothing is.
        step = hint[d] - turn[d].T @ at[d]
        expected = turn[d].T @ slope[d] / np.where(strength[d] > 1e-8, strength[d], np.inf)
        np.testing.assert_allclose(step, expected, atol=1e-10)


def test_the_layout_of_pooled_coefficients_keeps_their_prior():
    """Whatever hint and strength, also one that depends on another variable."""
    import pymc as pm
    import pytensor

    from civstats.models.bayes._components import _informed_by

    hint = pytensor.shared(np.array([0.3, -2.0, 0.0]))
    with pm.Model() as model:
        sd = pm.HalfNormal("sd", 1.0)
        strength = np.array([0.0, 5.0, 400.0]) / (1.0 + sd**2)
        value = pm.Deterministic("value", _informed_by("mean", hint, strength))
    raw, log_sd = np.array([0.4, -1.1, 2.0]), 0.7
    point = {"sd_log__": np.array(log_sd), "mean_raw": raw}
    found = model.compile_fn(model.logp(), inputs=model.value_vars)(point)
    graph = model.replace_rvs_by_values([value])
    made = model.compile_fn(graph, inputs=model.value_vars)
    moved = np.diag([made({**point, "mean_raw": raw + e})[0] - made(point)[0] for e in np.eye(3)])
    prior = stats.halfnorm.logpdf(np.exp(log_sd)) + log_sd
    expected = prior + stats.norm.logpdf(made(point)[0]).sum() + np.log(moved).sum()
    assert float(found) == pytest.approx(float(expected), abs=1e-9)
