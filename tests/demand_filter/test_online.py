"""A stored posterior goes on as if it had never stopped."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest

from civstats import CivstatsError, validate_panel
from civstats.data.synthetic import make_panel
from civstats.demand_filter import DemandFilter, filter_levels
from civstats.demand_filter.online import Posterior, posterior, update
from civstats.demand_filter.recovery import recover
from civstats.schema import DataError
from civstats.stockouts.simulate import simulate_stockouts

DAYS = 100
CUT = 80


def make(seed=3, flags=True):
    rng = np.random.default_rng(seed)
    frames = []
    for k, name in enumerate(("slow", "middle", "quick", "launch")):
        level = [-0.5, 0.7, 2.3, 0.5][k] + np.cumsum(rng.normal(0, 0.05, DAYS))
        demand = rng.poisson(np.exp(level) * rng.gamma(2, 0.5, DAYS))
        stock = np.where(rng.random(DAYS) < 0.5, 0, rng.poisson(np.exp(level)))
        short = (rng.random(DAYS) < 0.3) & (stock <= demand)
        frame = pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=DAYS),
                "y": np.where(short, stock, demand),
                "is_censored": short,
                "price": 2.0 + 0.5 * (np.arange(DAYS) // 10 % 3 == k % 3),
                "event_name_1": pd.Categorical(np.where(np.arange(DAYS) % 30, "none", "Feast")),
                "dept_id": "A" if k < 2 else "B",
            }
        )
        frames.append(frame[60:] if name == "launch" else frame)
    panel = pd.concat(frames)
    return validate_panel(panel if flags else panel.drop(columns="is_censored"))


def split(panel, day):
    cut = pd.Timestamp("2024-01-01") + pd.Timedelta(days=day)
    return panel[panel["ds"] < cut], panel[panel["ds"] >= cut]


@pytest.fixture(scope="module", params=["censor", "hidden"])
def started(request):
    panel = make(flags=request.param == "censor")
    before, new = split(panel, CUT)
    fitted = DemandFilter(hidden=request.param == "hidden", rounds=1, sample_rows=300)
    fitted.fit(validate_panel(before))
    return panel, fitted, posterior(fitted, before), new


def test_new_days_alone_give_the_numbers_of_all_days(started):
    panel, fitted, stands, new = started
    after, frame = update(stands, new)
    obs = fitted.observations(panel)
    whole = filter_levels(obs, fitted.parameters_of(obs.ids), grid=after.state.grid)
    np.testing.assert_allclose(after.state.cells, whole.state.cells, atol=1e-12)
    assert (after.state.n_days == obs.lengths).all()
    late = (panel["ds"] >= new["ds"].min()).to_numpy()
    mean = whole.filtered.rate * np.exp(obs.offset)
    np.testing.assert_allclose(frame["level_filtered"], mean[late].astype("float32"), rtol=1e-6)
    if fitted.hidden:
        np.testing.assert_allclose(frame["p_out"], whole.filtered.p_out[late], atol=1e-6)
    recovered = recover(panel, fitted, levels=()).frame
    # Its grid is that of all days, not of the days so far.
    np.testing.assert_allclose(
        frame["recovered_filtered"], recovered["recovered_filtered"][late], rtol=1e-3, atol=1e-4
    )
    assert (frame["stockout"].to_numpy() == recovered["stockout"][late].to_numpy()).all()


def test_day_by_day_is_the_same_as_at_once(started):
    _, _, stands, new = started
    at_once = update(stands, new)
    frames = []
    for day in sorted(new["ds"].unique()):
        stands, frame = update(stands, new[new["ds"] == day])
        frames.append(frame)
    both = pd.concat(frames).astype({"unique_id": str}).sort_values(["unique_id", "ds"])
    whole = at_once.frame.astype({"unique_id": str}).sort_values(["unique_id", "ds"])
    for column in ("level_filtered", "recovered_filtered"):
        np.testing.assert_allclose(both[column], whole[column], rtol=1e-6)
    assert (stands.last == at_once.posterior.last).all()


CONTINUE = """
import sys
import pandas as pd
from civstats import validate_panel
from civstats.demand_filter.online import Posterior, update
new = validate_panel(pd.read_parquet(sys.argv[2]))
after, frame = update(Posterior.load(sys.argv[1]), new)
after.save(sys.argv[3])
frame.to_parquet(sys.argv[4])
"""


def test_saved_and_continued_in_another_process(started, tmp_path):
    _, _, stands, new = started
    after, frame = update(stands, new)
    stands.save(tmp_path / "before.npz")
    new.to_parquet(tmp_path / "new.parquet")
    names = [tmp_path / n for n in ("before.npz", "new.parquet", "after.npz", "frame.parquet")]
    subprocess.run([sys.executable, "-c", CONTINUE, *map(str, names)], check=True)
    there = Posterior.load(names[2])
    np.testing.assert_allclose(there.state.cells, after.state.cells, rtol=0, atol=1e-12)
    assert (there.last == after.last).all()
    assert there.freq == "D"
    pd.testing.assert_frame_equal(
        pd.read_parquet(names[3]).astype({"unique_id": str}), frame.astype({"unique_id": str})
    )
    # The same model: it recovers the same past, and draws the same worlds.
    panel = started[0]
    a = recover(panel, stands.model, n_draws=6, parameter_draws=3, seed=1)
    b = recover(panel, there.model, n_draws=6, parameter_draws=3, seed=1)
    pd.testing.assert_frame_equal(a.frame, b.frame)
    np.testing.assert_array_equal(a.samples, b.samples)


def test_no_pickle_in_the_file(started, tmp_path):
    _, _, stands, _ = started
    stands.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_some_series_go_on_while_others_wait(started):
    _, _, stands, new = started
    mine = new[new["unique_id"] == "quick"]
    after, frame = update(stands, mine)
    assert set(frame["unique_id"]) == {"quick"}
    for i, name in enumerate(stands.state.ids):
        same = np.array_equal(stands.state.probabilities(i), after.state.probabilities(i))
        assert same == (name != "quick")
    whole, _ = update(stands, new)
    i = list(after.state.ids).index("quick")
    np.testing.assert_array_equal(after.state.probabilities(i), whole.state.probabilities(i))


def test_what_does_not_go_on_is_refused(started, tmp_path):
    panel, _, stands, new = started
    with pytest.raises(CivstatsError, match=r"next day is 2024-03-21, but .* 2024-03-22"):
        update(stands, new[new["ds"] > new["ds"].min()])
    with pytest.raises(CivstatsError, match="do not go on where they ended"):
        update(stands, panel)
    stranger = validate_panel(new.assign(unique_id="x" + new["unique_id"].astype(str)))
    with pytest.raises(CivstatsError, match="not in the posterior"):
        update(stands, stranger)
    stands.save(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as file:
        file.writestr("x.txt", "nothing")
    for name in ("cut.npz", "other.npz", "missing.npz"):
        with pytest.raises(DataError, match="no stored posterior"):
            Posterior.load(tmp_path / name)


def test_a_stored_filter_is_the_one_that_was_stored(tmp_path):
    panel = simulate_stockouts(
        make_panel(n_series=6, n_days=200, seed=3), mechanism="inventory", rate=0.25, seed=3
    )
    days = np.sort(panel["ds"].unique())
    old, new = panel[panel["ds"] < days[-10]], panel[panel["ds"] >= days[-10]]
    fitted = DemandFilter(
        treatment="censor", hidden=True, flags_apart=True, rounds=1, sample_rows=2000, n_jobs=1
    ).fit(old)
    stands = posterior(fitted, old)
    stands.save(tmp_path / "levels.npz")
    again = Posterior.load(tmp_path / "levels.npz")
    arguments = {k for k in vars(fitted) if not k.endswith("_") and k != "n_jobs"}
    for name in arguments:
        assert getattr(again.model, name) == getattr(fitted, name), name
    pd.testing.assert_frame_equal(update(again, new).frame, update(stands, new).frame)


def test_new_days_with_a_gap_inside_are_refused():
    panel = make_panel(n_series=2, n_days=60, seed=0)
    days = np.sort(panel["ds"].unique())
    old, new = panel[panel["ds"] < days[-10]], panel[panel["ds"] >= days[-10]]
    stands = posterior(DemandFilter(treatment="ignore", rounds=1, n_jobs=1).fit(old), old)
    with pytest.raises(CivstatsError, match=r"1 new day\(s\) do not follow"):
        update(stands, new.drop(new.index[4]))
