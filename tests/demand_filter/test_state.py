"""Continuing a stored posterior gives the numbers of one pass over everything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from civstats.demand_filter import FilterParameters, State, filter_levels, smooth_levels, update
from civstats.schema import CivstatsError, DataError
from tests.demand_filter.worlds import many, one

NEGBIN = FilterParameters("negbin", dispersion=2.0, level_sd=0.05, prior_mean=0.5, prior_sd=0.8)
CASES = {
    "walk": NEGBIN,
    "damped": replace(NEGBIN, damping=0.95, level_sd=0.2),
    "hidden": replace(NEGBIN, out_rate=0.05, back_rate=0.3),
}


@pytest.mark.parametrize("case", CASES)
def test_update_is_one_pass(case, tmp_path):
    params = CASES[case]
    obs, _ = many(8, 90, hidden=params.hidden)
    whole = filter_levels(obs, params, summaries=("predicted", "filtered"))
    first = filter_levels(obs.slice_days(0, 60), params, grid=whole.grid)
    path = tmp_path / "state.npz"
    first.state.save(path)
    state = State.load(path)
    assert state.n_days.tolist() == np.minimum(obs.lengths, 60).tolist()
    new = obs.slice_days(60)
    late = np.flatnonzero(obs.lengths > 60)
    assert len(late) > 2
    part = params.take(late)
    got = update(state, new, part, summaries=("predicted", "filtered"), grid=whole.grid.take(late))
    rows = np.concatenate([np.arange(obs.starts[i] + 60, obs.ends[i]) for i in late])
    for name in ("predicted", "filtered"):
        a, b = getattr(got, name), getattr(whole, name)
        for field in ("mean", "sd", "rate") + (("p_out",) if params.hidden else ()):
            np.testing.assert_allclose(
                getattr(a, field), getattr(b, field)[rows], rtol=1e-12, atol=1e-12
            )
    total = got.loglik + first.loglik[late]
    np.testing.assert_allclose(total, whole.loglik[late], rtol=1e-12)
    for k, i in enumerate(late):
        np.testing.assert_allclose(
            got.state.probabilities(k), whole.state.probabilities(i), atol=1e-14
        )
    assert (got.state.n_days == obs.lengths[late]).all()
    # Without a grid the state's own is widened as the new days ask.
    free = update(state, new, part)
    np.testing.assert_allclose(free.filtered.mean, got.filtered.mean, atol=1e-5)
    smooth = smooth_levels(new, part, state=state)
    np.testing.assert_allclose(smooth.filtered.mean, got.filtered.mean, atol=1e-5)


def test_new_days_beyond_the_old_grid():
    params = FilterParameters("poisson", level_sd=0.1, prior_mean=0.0, prior_sd=0.5)
    y = np.r_[np.ones(30), np.full(60, 150.0)]
    state = filter_levels(one(y[:30]), params).state
    got = update(state, one(y[30:]), params)
    assert got.grid.spacing[0] == state.grid.spacing[0]
    assert got.grid.size[0] > state.grid.size[0]
    # What the old grid left out is continued like a normal's tail: a freak day takes a few days to
    # be forgotten, where zeros in its place would hold the level back to a cell a day.
    whole = filter_levels(one(y), params, grid=got.grid)
    np.testing.assert_allclose(got.filtered.mean[4:], whole.filtered.mean[34:], atol=0.6)
    np.testing.assert_allclose(got.filtered.mean[20:], whole.filtered.mean[50:], atol=1e-5)


def test_modest_growth_of_a_grid_is_not_felt():
    params, more = NEGBIN, np.full(6, 40)
    obs, _ = many(6, 90, seed=5)
    whole = filter_levels(obs, params)
    state = filter_levels(obs.slice_days(0, 45), params, grid=whole.grid).state
    wide = whole.grid.widened(more, more)
    got = update(state, obs.slice_days(45), params, grid=wide)
    rows = np.concatenate([np.arange(a + 45, b) for a, b in zip(obs.starts, obs.ends, strict=True)])
    np.testing.assert_allclose(got.filtered.mean, whole.filtered.mean[rows], atol=1e-5)


def test_refusals(tmp_path):
    obs, _ = many(3, 30)
    state = filter_levels(obs, NEGBIN).state
    with pytest.raises(CivstatsError, match="no state to continue, first z"):
        update(state, one([1.0], name="z"), NEGBIN)
    with pytest.raises(CivstatsError, match="disagree on hidden availability"):
        update(state, obs, CASES["hidden"])
    other = replace(state.grid, spacing=state.grid.spacing / 2)
    with pytest.raises(CivstatsError, match="does not hold their state's"):
        update(state, obs, NEGBIN, grid=other)
    path = tmp_path / "x.npz"
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="no stored filter state"):
        State.load(path)
    with pytest.raises(DataError, match="no stored filter state"):
        State.load(tmp_path / "absent.npz")
