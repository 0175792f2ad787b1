"""Lost units that move: conservation, where they go, when, and who gets none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from civstats.schema import CivstatsError, PanelError, validate_panel
from civstats.stockouts.simulate import (
    MECHANISMS,
    InventoryPolicy,
    Recapture,
    run_policy,
    simulate_stockouts,
)
from civstats.stockouts.simulate.serve import Server
from tests.stockouts.simulate.world import negbin_world

WORLD = negbin_world(40, 250, mean=2, spread=0.8)
NAN = np.float32(np.nan)


def lost_units(out: pd.DataFrame) -> np.ndarray:
    """Own demand that the shelf could not serve, own customers first."""
    room = out["stock"].fillna(np.inf)
    return (out["demand"] - np.minimum(out["demand"], room)).to_numpy(dtype=float)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_units_are_conserved(mechanism):
    rule = Recapture(substitute=0.3, later=0.2)
    out = simulate_stockouts(WORLD, mechanism=mechanism, rate=0.2, seed=1, recapture=rule)
    faced = (out["demand"] + out["recaptured"]).to_numpy()
    assert (out["demand"].to_numpy() == WORLD["demand"].to_numpy()).all()
    moved = out["recaptured"].to_numpy(dtype=float)
    assert (moved == np.floor(moved)).all()
    if mechanism == "part_day":
        assert abs((out["in_stock_share"] < 1).mean() - 0.2) < 0.01
        assert (out["y"] <= faced).all()
        lost = float((out["demand"] + out["recaptured"] - out["y"]).sum())
    else:
        assert abs(out["is_censored"].mean() - 0.2) < 0.01
        room = out["stock"].fillna(np.inf).to_numpy()
        assert (out["y"] == np.minimum(faced, room)).all()
        assert (out["is_censored"] == (faced >= room)).all()
        lost = lost_units(out).sum()
    # Nearly always a sister is open, so about half of what is lost comes back into view.
    assert 0.44 * lost < moved.sum() < 0.54 * lost


def test_shares_of_nothing_change_nothing():
    plain = simulate_stockouts(WORLD, mechanism="random", rate=0.2, seed=1)
    nil = simulate_stockouts(WORLD, mechanism="random", rate=0.2, seed=1, recapture=Recapture())
    assert (nil["recaptured"] == 0).all()
    pd.testing.assert_frame_equal(plain, nil.drop(columns="recaptured"))


def small(demand: dict[str, list[int]], start: dict[str, int] | None = None) -> pd.DataFrame:
    """Panel of a few series of one department; `start` delays a series' first day."""
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=len(d))
                + pd.Timedelta(days=(start or {}).get(name, 0)),
                "y": d,
                "store_id": "S1",
                "dept_id": name[0],
            }
        )
        for name, d in demand.items()
    ]
    return validate_panel(pd.concat(frames))


def serve(panel: pd.DataFrame, out: list[int], rule: Recapture) -> tuple[np.ndarray, ...]:
    cover = np.full(len(panel), NAN)
    cover[out] = 0
    return Server(panel, rng=np.random.default_rng(1), recapture=rule).serve(cover)


def test_every_customer_comes_back_tomorrow():
    panel = small({"a": [4, 3, 5, 2, 6]})
    _, sales, moved = serve(panel, [1, 2], Recapture(later=1.0, within_days=1))
    # The 3 of the second day meet an empty shelf on the third and are lost for good.
    np.testing.assert_array_equal(moved, [0, 0, 3, 5, 0])
    np.testing.assert_array_equal(sales, [4, 0, 0, 7, 6])


def test_waits_are_spread_over_the_days():
    panel = small({"a": [9000, *[0] * 6]})
    _, _, moved = serve(panel, [0], Recapture(later=0.5, within_days=3))
    assert moved.sum() == pytest.approx(4500, abs=200)
    np.testing.assert_allclose(moved[1:4], 1500, atol=150)
    assert (moved[4:] == 0).all()


def test_substitutes_are_open_sisters_of_the_same_day():
    """Departments a and b; item a3 is launched on the fourth day, a2 is out on the second."""
    panel = small({"a1": [6000] * 5, "a2": [1] * 5, "a3": [1] * 2, "b1": [1] * 5}, start={"a3": 3})
    _, sales, moved = serve(panel, [0, 1, 3, 6], Recapture(substitute=1.0))
    a1, a2, a3, b1 = np.split(moved, [5, 10, 12])
    # Day 2: no sister open, so nobody gets the units of a1 and a2. Day 4: a2 and a3 share them.
    np.testing.assert_array_equal(a2[[0, 1, 2, 4]], [6000, 0, 0, 0])
    assert a2[3] + a3[0] == 6000
    assert a2[3] == pytest.approx(3000, abs=200)
    assert a3[1] == 0
    assert (a1 == 0).all()
    assert (b1 == 0).all()
    np.testing.assert_array_equal(sales[5:7], [6001, 0])


def test_a_moved_unit_does_not_move_again():
    """An understocked item whose customers all come back tomorrow, once."""
    policy = InventoryPolicy(safety_factor=-2.5)
    panel = small({"a": [9, 4, 7, 12, 0, 6] * 20})
    run = run_policy(panel, policy, seed=1, recapture=Recapture(later=1.0, within_days=1))
    assert run.recaptured is not None
    lost = np.maximum(panel["y"].to_numpy() - run.stock, 0)
    np.testing.assert_array_equal(run.recaptured[1:], lost[:-1])
    assert ((run.recaptured > run.stock) & (lost > 0)).any()


def test_an_item_that_opens_in_stock_is_no_sister_of_itself():
    """Two sisters sell out every day: what one lacks goes to the other, never back to it."""
    panel = small({"a1": [50] * 40, "a2": [0] * 40})
    run = run_policy(
        panel,
        InventoryPolicy(safety_factor=-2, review_period=1, lead_time=1, launch_days=0),
        seed=1,
        recapture=Recapture(substitute=1.0),
    )
    lost = np.maximum(50 - run.stock[:40], 0)
    assert run.recaptured is not None
    assert (run.recaptured[:40] == 0).all()
    opened = run.stock[40:] > 0
    np.testing.assert_array_equal(run.recaptured[40:], np.where(opened, lost, 0))
    assert ((run.stock[:40] > 0) & (lost > 0)).any()


def test_wrong_shares():
    for wrong in ({"substitute": 1.2}, {"later": -0.1}, {"substitute": 0.7, "later": 0.6}):
        with pytest.raises(CivstatsError, match="recapture"):
            Recapture(**wrong)
    for days in (0, 1.5):
        with pytest.raises(CivstatsError, match="within_days"):
            Recapture(later=0.1, within_days=days)
    with pytest.raises(PanelError, match="needs store_id and dept_id, but the panel lacks dept_id"):
        simulate_stockouts(
            WORLD.drop(columns="dept_id"),
            mechanism="random", rate=0.1, seed=1, recapture=Recapture(substitute=0.1),
        )  # fmt: skip
