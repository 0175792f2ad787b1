from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.demand_filter import (
    BOUND,
    EXACT,
    IN,
    OUT,
    SILENT,
    UNKNOWN,
    FilterParameters,
    Observations,
    observations,
    sample_levels,
    smooth_levels,
)
from civstats.schema import CivstatsError, validate_panel
from tests.demand_filter.worlds import many

ROWS = [
    # y, is_censored, in_stock_share, flag_known
    (3, False, 1.0, True),
    (0, False, 1.0, True),
    (4, True, 1.0, True),
    (0, True, 1.0, True),
    (2, False, 0.4, True),
    (0, False, 0.4, True),
    (0, False, 0.0, True),
    (1, False, 0.0, True),
    (0, False, 1.0, False),
    (5, False, 1.0, False),
]


def panel(**columns):
    y, cens, share, known = (np.array(c) for c in zip(*ROWS, strict=True))
    days = pd.date_range("2024-01-01", periods=len(ROWS))
    frame = {"unique_id": "a", "ds": days, "y": y, "is_censored": cens}
    frame |= {"in_stock_share": share, "flag_known": known}
    return validate_panel(pd.DataFrame(frame | columns))


def test_censor():
    obs = observations(panel(), "censor")
    assert obs.kind.tolist() == [
        EXACT, EXACT, BOUND, SILENT, EXACT, EXACT, SILENT, BOUND, EXACT, EXACT,
    ]  # fmt: skip
    assert obs.status.tolist() == [IN, IN, IN, OUT, IN, IN, OUT, IN, UNKNOWN, IN]
    np.testing.assert_allclose(obs.exposure, [1, 1, 1, 1, 0.4, 0.4, 1, 1, 1, 1], rtol=1e-6)
    assert obs.y[[3, 6, 7]].tolist() == [0, 0, 1]


def test_mask():
    obs = observations(panel(), "mask")
    out = [False, False, True, True, True, True, True, True, False, False]
    assert (obs.kind == np.where(out, SILENT, EXACT)).all()
    assert obs.status.tolist() == [IN, IN] + [UNKNOWN] * 6 + [UNKNOWN, IN]
    assert obs.exposure is None
    assert (obs.y[out] == 0).all()


def test_ignore_reads_no_flags():
    obs = observations(panel(), "ignore")
    bare = observations(panel()[["unique_id", "ds", "y"]], "censor")
    for got in (obs, bare):
        assert (got.kind == EXACT).all()
        assert got.y.tolist() == [r[0] for r in ROWS]
        assert (got.status == IN).all()
        assert got.exposure is None
    hidden = observations(panel(), "ignore", hidden=True)
    assert (hidden.status == np.where(hidden.y > 0, IN, UNKNOWN)).all()


def test_masked_days_leave_no_trace_to_the_last_bit():
    rng = np.random.default_rng(4)
    frame = panel()
    short = observations(frame, "mask").kind == SILENT
    changed = frame.copy()
    changed.loc[short, "y"] = rng.integers(0, 90, short.sum()).astype("float32")
    changed["stock"] = np.where(short, changed["y"], np.nan).astype("float32")
    for rates in ({}, {"out_rate": 0.1, "back_rate": 0.3}):
        params = FilterParameters("negbin", dispersion=2.0, **rates)
        a, b = (observations(p, "mask", hidden=True) for p in (frame, changed))
        one, other = (smooth_levels(o, params, quantiles=[0.1]) for o in (a, b))
        assert one.loglik[0] == other.loglik[0]
        np.testing.assert_array_equal(one.smoothed.mean, other.smoothed.mean)
        np.testing.assert_array_equal(one.quantiles, other.quantiles)
        np.testing.assert_array_equal(
            sample_levels(a, params, 5, 1).levels, sample_levels(b, params, 5, 1).levels
        )
        loud = smooth_levels(observations(changed, "ignore"), params)
        assert loud.loglik[0] != one.loglik[0]


def test_offsets_and_slices():
    frame = panel()
    x = np.arange(10.0)
    obs = observations(frame, "censor", x)
    np.testing.assert_array_equal(obs.offset, x)
    with pytest.raises(CivstatsError, match="one value per row, 10"):
        observations(frame, "censor", x[:3])
    world, _ = many(5)
    part = world.take([3, 1])
    assert part.ids.tolist() == ["s3", "s1"]
    np.testing.assert_array_equal(part.y[: part.ends[0]], world.y[world.starts[3] : world.ends[3]])
    head, tail = world.slice_days(0, 70), world.slice_days(70)
    assert head.n_rows + tail.n_rows == world.n_rows
    assert set(tail.ids) == {i for i, n in zip(world.ids, world.lengths, strict=True) if n > 70}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"starts": [1]}, "without gaps"),
        ({"ends": [2]}, "without gaps"),
        ({"y": [1.0, np.nan, 0.0]}, "y must be finite .* first day 2 of a"),
        ({"kind": [0, 0, 7]}, "unknown"),
        ({"offset": [0.0, np.inf, 0.0]}, "offset must be finite"),
        ({"offset": [0.0]}, "must all have 3 rows"),
        ({"exposure": [1.0, 1.0, 0.0]}, "exposure must be above 0"),
    ],
)
def test_refusals(change, text):
    good = {
        "ids": pd.Index(["a"]),
        "starts": [0],
        "ends": [3],
        "y": [1.0, 0.0, 2.0],
        "kind": [0, 0, 0],
        "status": [0, 0, 0],
        "offset": [0.0, 0.0, 0.0],
    }
    Observations(**good)
    with pytest.raises(CivstatsError, match=text):
        Observations(**(good | change))
