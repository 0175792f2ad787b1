"""DeepAR and TFT under stockouts: no trace of what is masked, joint paths, training that resumes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neuralforecast")

from civstats.features.history import filtered_demand  # noqa: E402
from civstats.models.deepar import TFT, DeepAR  # noqa: E402
from civstats.models.deepar._known import KnownCoding  # noqa: E402
from civstats.models.deepar._sampling import sample_paths  # noqa: E402
from civstats.models.deepar._series import covariates_of, series_data  # noqa: E402
from civstats.models.deepar._training import training_cut  # noqa: E402
from civstats.models.deepar._windows import Windows  # noqa: E402
from civstats.schema import (  # noqa: E402
    CENSORED,
    DS,
    ID,
    IN_STOCK_SHARE,
    STOCK,
    CivstatsError,
    DataError,
    ForecastError,
    PanelError,
    Y,
    stockout_days,
    validate_panel,
)

H = 7
SMALL = {
    "h": H, "input_size": 14, "hidden_size": 8, "max_steps": 8, "batch_size": 16, "val_every": 4,
    "num_threads": 1,
}  # fmt: skip
DEEPAR = SMALL | {"lags": (7,), "n_layers": 1, "trajectories": 100}
BOTH = pytest.mark.parametrize(("model", "options"), [(DeepAR, DEEPAR), (TFT, SMALL)])


def _raw(n_days: int = 90) -> pd.DataFrame:
    """Two series and a launch; stock runs out on 15 % of the days, the last ones too."""
    rng = np.random.default_rng(3)
    days = pd.date_range("2024-01-01", periods=n_days)
    frames = []
    for k, (name, mean) in enumerate({"a": 6.0, "b": 1.0, "c": 3.0}.items()):
        demand = rng.poisson(mean * (1 + 0.5 * (days.dayofweek == 5)))
        stock = np.where(rng.random(n_days) < 0.3, rng.poisson(mean, n_days), 99)
        stock[-2:] = 0 if name == "a" else stock[-2:]
        frame = pd.DataFrame(
            {
                ID: name,
                DS: days,
                Y: np.minimum(demand, stock),
                CENSORED: demand >= stock,
                STOCK: stock.astype(float),
                "price": 2.0 + k + (np.arange(n_days) // 14 % 2),
                "promo": np.arange(n_days) % 9 == 0,
                "event_name_1": np.where(np.arange(n_days) % 30 == 5, "Feast", "none"),
                "store_id": "S1" if k < 2 else "S2",
            }
        )
        frames.append(frame[-10:] if name == "c" else frame)
    return pd.concat(frames, ignore_index=True)


def _future(panel: pd.DataFrame, h: int = H) -> pd.DataFrame:
    days = pd.date_range(panel[DS].max() + pd.Timedelta(days=1), periods=h)
    rows = [pd.DataFrame({ID: str(i), DS: days}) for i in panel[ID].cat.categories]
    return pd.concat(rows, ignore_index=True).assign(
        price=2.5, promo=False, event_name_1="none", store_id="S1"
    )


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return validate_panel(_raw())


@pytest.fixture(scope="module")
def masked(panel) -> DeepAR:
    return DeepAR(treatment="mask", **DEEPAR).fit(panel)


@pytest.fixture(scope="module")
def censored(panel) -> DeepAR:
    return DeepAR(treatment="censor", **DEEPAR).fit(panel)


def _changed(panel: pd.DataFrame) -> pd.DataFrame:
    out = stockout_days(panel)
    sales = np.random.default_rng(5).integers(1, 60, len(panel)).astype("float32")
    changed = panel.copy()
    changed.loc[out, Y] = sales[out]
    changed.loc[out, STOCK] = sales[out]
    return validate_panel(changed)


def _same(a, b) -> None:
    pd.testing.assert_frame_equal(a.frame, b.frame, check_exact=True)
    if a.paths is not None:
        np.testing.assert_array_equal(a.paths.to_numpy(), b.paths.to_numpy())


# --- treatments


@BOTH
def test_mask_leaves_no_trace_to_the_last_bit(model, options, panel) -> None:
    changed = _changed(panel)
    assert (changed[Y] != panel[Y]).mean() > 0.1
    first, second = (model(treatment="mask", **options).fit(p) for p in (panel, changed))
    _same(*(m.predict(_future(panel), n_paths=30) for m in (first, second)))
    pd.testing.assert_frame_equal(first.losses_, second.losses_, check_exact=True)


def test_a_loss_mask_alone_leaves_a_trace(panel) -> None:
    """Raw history is what neuralforecast's available_mask does: the test above can tell."""
    options = DEEPAR | {"max_steps": 1}
    first, second = (
        DeepAR(treatment="mask", history="raw", **options).fit(p).predict(_future(panel))
        for p in (panel, _changed(panel))
    )
    assert (first.frame["DeepAR_mask"] != second.frame["DeepAR_mask"]).any()


def test_the_masked_fill_reads_neither_the_day_nor_what_follows(panel) -> None:
    out = stockout_days(panel)
    demand, fitted = filtered_demand(panel, treatment="mask")
    again, _ = filtered_demand(_changed(panel), treatment="mask")
    np.testing.assert_array_equal(demand, again)
    np.testing.assert_array_equal(demand[~out], panel[Y].to_numpy()[~out])
    assert (demand[out] > 0).all()
    early = panel[DS] <= panel[DS].max() - pd.Timedelta(days=20)
    before, _ = filtered_demand(
        validate_panel(panel[early & (panel[ID] != "c")]), fitted, treatment="mask"
    )
    # The grid of levels is laid over all days: a difference of its spacing, no more.
    rows = (early & (panel[ID] != "c")).to_numpy()
    np.testing.assert_allclose(demand[rows], before, rtol=2e-2)
    censored, _ = filtered_demand(panel, treatment="censor")
    part = out & (panel[Y] > 0).to_numpy()
    assert (censored[part] >= panel[Y].to_numpy()[part]).all()
    assert (demand[part] < panel[Y].to_numpy()[part]).any()


def _data(panel: pd.DataFrame, treatment: str, *, raw: bool = False):
    demand = np.linspace(0.1, 9.0, len(panel)).astype(np.float32)
    coding = KnownCoding.learn(covariates_of(panel))
    return series_data(panel, treatment, demand, coding, raw=raw), demand, coding


def test_what_each_treatment_makes_of_a_day() -> None:
    frame = _raw(30)
    frame[IN_STOCK_SHARE] = 1.0
    frame.loc[4, [CENSORED, IN_STOCK_SHARE, Y, STOCK]] = [False, 0.25, 2, np.nan]
    frame.loc[5, [CENSORED, Y, STOCK]] = [True, 4, 4]
    frame.loc[6, [CENSORED, Y, STOCK]] = [True, 0, 0]
    frame[CENSORED] = frame[CENSORED].astype(bool)
    panel = validate_panel(frame)
    ignore, mask, censor = (_data(panel, t)[0] for t in ("ignore", "mask", "censor"))
    days = [4, 5, 6]
    assert ignore.weight[0, days].tolist() == [1, 1, 1]
    assert mask.weight[0, days].tolist() == [0, 0, 0]
    assert mask.target[0, days].tolist() == [0, 0, 0]
    assert censor.weight[0, days].tolist() == [1, 1, 0]
    assert censor.bound[0, days].tolist() == [False, True, False]
    assert censor.exposure[0, days].tolist() == [0.25, 1, 1]
    assert mask.filled[0, days].all()
    assert censor.filled[0, days].all()
    assert not ignore.filled.any()
    assert not _data(panel, "mask", raw=True)[0].filled.any()
    # Before its launch the third series has no day.
    assert mask.start.tolist() == [0, 0, 20]
    assert not mask.weight[2, :20].any()


def test_scales_are_in_stock_means() -> None:
    panel = validate_panel(_raw(40))
    data, _, _ = _data(panel, "mask")
    origin, window = 30, 10
    rows = (panel[ID] == "a").to_numpy().nonzero()[0][origin - window : origin]
    known = rows[~stockout_days(panel)[rows]]
    own = panel[Y].to_numpy()[known].sum(dtype=float)
    before = (panel[ID] == "a").to_numpy().nonzero()[0][:origin]
    before = before[~stockout_days(panel)[before]]
    total = panel[Y].to_numpy()[before].sum(dtype=float)
    overall = panel[Y].to_numpy()[~stockout_days(panel)].mean(dtype=float)
    prior = (total + overall) / (len(before) + 1)
    expected = (own + 7 * prior) / (len(known) + 7)
    found = data.scale(np.array([0]), np.array([origin]), window)
    assert found[0] == pytest.approx(expected, rel=1e-6)
    assert data.digest() != _data(_changed(panel), "ignore")[0].digest()


# --- windows


def _windows(panel, treatment="mask", *, recurrent=True, lags=(3,), ahead=None):
    data, demand, coding = _data(panel, treatment)
    windows = Windows(
        data, input_size=10, h=4, lags=lags, recurrent=recurrent, device=torch.device("cpu"),
        ahead=ahead,
    )  # fmt: skip
    return windows, data, demand, coding


def test_windows_against_a_loop_over_days(panel) -> None:
    windows, data, _, coding = _windows(panel)
    rows = coding.of(covariates_of(panel))
    series, origin = np.array([0, 2, 1]), np.array([40, 85, 4])
    batch, scale = windows.batch(series, origin)
    targets = windows.targets(series, origin, scale, 4, until=86)
    assert batch["insample_y"].shape == (3, 13, 1)
    starts = np.flatnonzero(~panel[ID].duplicated().to_numpy())
    for i, (s, o) in enumerate(zip(series, origin, strict=True)):
        for step in range(13):
            day = o - 10 + 1 + step  # the day that the step predicts
            before = [day - 1, day - 3]
            fed = [data.history[s, d] if d >= 0 else 0.0 for d in before]
            fed = np.log1p(np.array(fed) / scale[i, 0, 0].item())
            absent = day - 1 < data.start[s]
            flags = [float(not absent and data.filled[s, day - 1]), float(absent)]
            known = rows[starts[s] + day - data.start[s]] if day >= data.start[s] else None
            assert batch["insample_y"][i, step, 0].item() == pytest.approx(fed[0], rel=1e-5)
            expected = [*flags, fed[1]]
            np.testing.assert_allclose(batch["hist_exog"][i, step].numpy(), expected, rtol=1e-5)
            if known is not None:
                np.testing.assert_allclose(batch["futr_exog"][i, step].numpy(), known, rtol=1e-6)
        for k in range(4):
            assert targets.y[i, k, 0].item() == data.target[s, o + k]
            expected = data.weight[s, o + k] * (o + k < 86)
            assert targets.weight[i, k, 0].item() == expected
    assert targets.weight[1, 1:].sum() == 0


def test_direct_windows_end_at_the_origin(panel) -> None:
    windows, data, _, _ = _windows(panel, recurrent=False)
    batch, scale = windows.batch(np.array([1]), np.array([50]))
    assert batch["insample_y"].shape == (1, 10, 1)
    assert batch["futr_exog"].shape[1] == 14
    fed = np.log1p(data.history[1, 40:50] / scale.item())
    np.testing.assert_allclose(batch["insample_y"][0, :, 0].numpy(), fed, rtol=1e-6)


def test_training_stops_before_the_validation_and_dropped_windows_touch_no_stockout(panel) -> None:
    windows, data, _, _ = _windows(panel)
    cut = training_cut(windows, 7, drop_windows=False, name="x")
    whole = cut.series < 2
    assert (cut.origin + windows.h)[whole].max() == 90 - 7
    # The launch has no window that ends in time: its own are cut where the validation begins.
    late = cut.series[~whole], cut.origin[~whole]
    assert late[1].tolist() == [81, 82]
    targets = windows.targets(*late, windows.scale(*late), windows.h, cut.until)
    assert targets.weight[0, 2:].sum() == targets.weight[1, 1:].sum() == 0
    assert cut.until == 83
    # Seven days held back are two windows of four, the last to the end.
    assert set(cut.val_origin) == {83, 86}
    assert (cut.origin > data.start[cut.series]).all()
    dropped = training_cut(windows, 7, drop_windows=True, name="x")
    assert 0 < len(dropped.series) < len(cut.series)
    for s, o in zip(dropped.series, dropped.origin, strict=True):
        assert not data.touched[s, max(o - 10, 0) : min(o + 4, cut.until)].any()


# --- paths


def test_sampling_day_by_day_is_reading_the_whole_history_again(panel, monkeypatch) -> None:
    """The running state, the lags and the features of the days ahead, against fresh windows."""
    model = DeepAR(treatment="mask", **DEEPAR).fit(panel)
    future = _future(panel)
    ahead, n_days = model._ahead(future, most=None)
    loss = model.network_.loss
    monkeypatch.setattr(type(loss), "draw", lambda self, a: torch.round(a[0] * 1.5 + 1))
    windows = model._windows(ahead)
    drawn = sample_paths(model.network_, windows, np.arange(3), n_days, 2, seed=0)
    grown = validate_panel(panel.drop(columns=[STOCK, CENSORED]))
    for d in range(n_days):
        data = model._data
        fresh = model._windows(ahead)
        for k in range(d):  # what was drawn so far becomes history
            fresh.history[:, fresh.first_ahead + k] = torch.tensor(drawn.paths[:, 0, k])
        series, origin = np.arange(3), np.full(3, data.target.shape[1] + d)
        batch, _ = fresh.batch(series, np.full(3, data.target.shape[1]), ahead=d + 1)
        scale = fresh.scale(series, np.full(3, data.target.shape[1]))
        with torch.no_grad():
            output = model.network_.parameters_of(batch, 1)
        mu = loss.scale_decouple(output, scale=scale)[0][:, 0, 0].numpy()
        np.testing.assert_allclose(drawn.mean[:, d], mu, rtol=1e-4)
        assert len(origin) == len(grown[ID].cat.categories)


def test_paths_are_joint_seeded_and_leave_global_generators_alone(panel, masked) -> None:
    future = _future(panel)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    environment = dict(os.environ)
    DeepAR(**(DEEPAR | {"max_steps": 1})).fit(panel)
    first = masked.predict(future, n_paths=120, seed=4)
    assert random.getstate() == states[0]
    assert (np.random.get_state()[1] == states[1]).all()
    assert torch.equal(torch.get_rng_state(), states[2])
    assert dict(os.environ) == environment
    _same(first, masked.predict(future, n_paths=120, seed=4))
    other = masked.predict(future, n_paths=120, seed=5)
    assert (first.paths.to_numpy() != other.paths.to_numpy()).any()
    # More paths leave the first ones, and the frame, as they were.
    fewer = masked.predict(future, n_paths=7, seed=4)
    np.testing.assert_array_equal(fewer.paths.to_numpy(), first.paths.to_numpy()[:, :7])
    pd.testing.assert_frame_equal(fewer.frame, first.frame, check_exact=True)
    assert first.paths.dims == (ID, "sample", DS)
    assert (first.paths.to_numpy() == np.rint(first.paths.to_numpy())).all()


def test_p50_and_p90_are_among_the_outputs(panel, masked, censored) -> None:
    for model in (masked, TFT(**SMALL).fit(panel)):
        forecast = model.predict(_future(panel), level=[95])
        usual = model.predict(_future(panel), level=[80, 95])
        assert forecast.level == (80.0, 95.0)
        pd.testing.assert_frame_equal(forecast.frame, usual.frame)
    for model in (masked, censored):
        forecast = model.predict(_future(panel), level=[80], n_paths=100)
        ordered = np.sort(forecast.paths.to_numpy(), axis=1)
        for column, k in (("-median", 49), ("-hi-80", 89), ("-lo-80", 9)):
            found = forecast.frame[forecast.name + column].to_numpy().reshape(3, H)
            np.testing.assert_array_equal(found, ordered[:, k])


def test_tft_hands_back_exact_marginals(panel) -> None:
    from scipy import stats

    model = TFT(treatment="censor", **SMALL).fit(panel)
    forecast = model.predict(_future(panel, 5), level=[80])
    assert forecast.paths is None
    m = forecast.marginal
    assert (m["family"] == "negbin").all()
    np.testing.assert_array_equal(m["mean"], forecast.frame["TFT_censor"])
    family = stats.nbinom(m["dispersion"], m["dispersion"] / (m["dispersion"] + m["mean"]))
    np.testing.assert_allclose(forecast.frame["TFT_censor-hi-80"], family.ppf(0.9))
    whole = model.predict(_future(panel), level=[80])
    first = whole.frame[whole.frame[DS] < panel[DS].max() + pd.Timedelta(days=6)]
    np.testing.assert_allclose(first["TFT_censor"], forecast.frame["TFT_censor"], rtol=1e-6)
    with pytest.raises(ForecastError, match=r"learnt 7 period\(s\) ahead"):
        model.predict(_future(panel, 8))


# --- training


def test_training_learns_and_keeps_the_best_weights(panel) -> None:
    options = DEEPAR | {"max_steps": 60, "val_every": 10, "learning_rate": 2e-2, "patience": 2}
    model = DeepAR(**options).fit(panel)
    log = model.losses_
    assert log["validation"].min() < log["validation"].iloc[0]
    assert log["step"].diff().iloc[1:].eq(10).all()
    best = int(log["validation"].idxmin())
    assert best == len(log) - 1 or log["validation"].iloc[best] < log["validation"].iloc[-1]
    if len(log) < 6:
        assert len(log) - 1 - best == 2
    from civstats.models.deepar._training import validate

    windows = model._windows()
    cut = training_cut(windows, H, drop_windows=False, name="x")
    again = validate(model.network_, windows, cut)
    assert again == pytest.approx(log["validation"].min(), rel=1e-6)


_CHILD = """
import sys
sys.path.insert(0, {tests!r})
from test_deepar import DEEPAR, DeepAR, _raw, validate_panel
options = DEEPAR | dict(max_steps={steps}, val_every=3, checkpoint={folder!r})
DeepAR(**options).fit(validate_panel(_raw()))
"""


def test_killed_in_the_middle_it_goes_on_to_the_same_weights(panel, tmp_path) -> None:
    """SIGKILL after the first checkpoint; the rest of the training is that of one never killed."""
    steps, here = 150, str(Path(__file__).parent)
    code = _CHILD.format(tests=here, steps=steps, folder=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 240
        while not list(tmp_path.glob("training-*.pt")) and time.monotonic() < deadline:
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    (file,) = tmp_path.glob("training-*.pt")
    done = torch.load(file, weights_only=True)["step"]
    assert 0 < done < steps
    options = DEEPAR | {"max_steps": steps, "val_every": 3}
    resumed = DeepAR(checkpoint=tmp_path, **options).fit(panel)
    whole = DeepAR(**options).fit(panel)
    pd.testing.assert_frame_equal(resumed.losses_, whole.losses_, check_exact=True)
    for (name, a), b in zip(
        resumed.network_.state_dict().items(), whole.network_.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    file.write_bytes(b"torn")
    with pytest.raises(DataError, match="delete it to start afresh"):
        DeepAR(checkpoint=tmp_path, **options).fit(panel)
    # Other data have a file of their own.
    DeepAR(checkpoint=tmp_path, **options).fit(_changed(panel))
    assert len(list(tmp_path.glob("training-*.pt"))) == 2


# --- stored


@BOTH
def test_a_stored_model_forecasts_without_the_training_panel(
    model, options, panel, tmp_path
) -> None:
    fitted = model(treatment="mask", **options).fit(panel)
    fitted.save(tmp_path / "m")
    for file in (tmp_path / "m").iterdir():
        assert file.read_bytes()[:2] not in (b"\x80\x02", b"\x80\x04", b"\x80\x05")
    loaded = model.load(tmp_path / "m")
    assert (loaded.treatment, loaded.settings) == (fitted.treatment, fitted.settings)
    future = _future(panel)
    _same(fitted.predict(future, n_paths=20), loaded.predict(future, n_paths=20))
    other = DeepAR if model is TFT else TFT
    with pytest.raises(DataError, match=f"holds {model.name}"):
        other.load(tmp_path / "m")
    (tmp_path / "m" / "model.json").write_text("{")
    with pytest.raises(DataError, match="no stored model"):
        model.load(tmp_path / "m")


def test_a_loaded_model_takes_an_update(panel, tmp_path) -> None:
    early = validate_panel(panel[panel[DS] <= panel[DS].max() - pd.Timedelta(days=3)])
    fitted = DeepAR(**DEEPAR).fit(early)
    fitted.save(tmp_path)
    loaded = DeepAR.load(tmp_path)
    future = _future(panel)
    _same(fitted.update(panel).predict(future), loaded.update(panel).predict(future))


# --- series that are hard to learn from


def test_hard_series_work_or_are_refused_by_name(panel) -> None:
    frame = _raw(60)
    days = frame.loc[frame[ID] == "a", DS]
    zeros = pd.DataFrame({ID: "z", DS: days, Y: 0, CENSORED: False, STOCK: np.nan})
    gone = pd.DataFrame({ID: "g", DS: days, Y: 0, CENSORED: True, STOCK: 0.0})
    new = pd.DataFrame({ID: "n", DS: days[-1:], Y: 2, CENSORED: False, STOCK: np.nan})
    extra = pd.concat([zeros, gone, new]).assign(
        price=1.0, promo=False, event_name_1="none", store_id="S1"
    )
    hard = validate_panel(pd.concat([frame, extra], ignore_index=True))
    for treatment in ("mask", "censor"):
        model = DeepAR(treatment=treatment, **DEEPAR).fit(hard)
        found = model.predict(_future(hard)).frame
        assert len(found) == 6 * H
    for name, match in (("g", "every day is a stockout day"), ("n", "no window to train on")):
        alone = hard[hard[ID] == name]
        alone = validate_panel(alone.assign(**{ID: alone[ID].astype(str)}))
        with pytest.raises(CivstatsError, match=match):
            DeepAR(treatment="mask", **DEEPAR).fit(alone)
    only = validate_panel(zeros.drop(columns=STOCK))
    flat = (
        DeepAR(**DEEPAR)
        .fit(only)
        .predict(_future(only).drop(columns=["price", "promo", "event_name_1", "store_id"]))
    )
    assert np.isfinite(flat.frame["DeepAR_ignore"]).all()


def test_series_unseen_at_training(panel, censored) -> None:
    with pytest.raises(ForecastError, match="without history"):
        censored.predict(_future(panel).assign(**{ID: lambda f: "new_" + f[ID]}))
    old = validate_panel(_raw()[lambda f: f[ID] != "c"])
    model = DeepAR(treatment="censor", **DEEPAR).fit(old)
    model.update(panel)
    found = model.predict(_future(panel)).frame
    mean = found.groupby(ID, observed=True)["DeepAR_censor"].mean()
    assert set(mean.index.astype(str)) == {"a", "b", "c"}
    assert mean["c"] > 0.3


def test_what_cannot_be_done_is_refused(panel, masked) -> None:
    with pytest.raises(ForecastError, match="every day after the cutoff"):
        future = _future(panel)
        masked.predict(future[future[DS] > future[DS].min()])
    fractions = panel.assign(**{Y: panel[Y] + np.float32(0.5)})
    for treatment in ("ignore", "mask", "censor"):
        with pytest.raises(PanelError, match="whole units"):
            DeepAR(treatment=treatment, **DEEPAR).fit(fractions)
    # The mends lead to what works.
    for treatment in ("mask", "ignore"):
        student = DeepAR(treatment=treatment, distribution="student_t", **DEEPAR)
        if treatment == "mask":
            with pytest.raises(PanelError, match=r"filter of counts.* under treatment 'ignore'"):
                student.fit(fractions)
        else:
            student.fit(fractions)
    contradicted = panel.drop(columns=[STOCK, CENSORED]).assign(**{IN_STOCK_SHARE: 0.0})
    contradicted[Y] = np.maximum(contradicted[Y], 1)
    with pytest.raises(ForecastError, match="bounds alone"):
        DeepAR(treatment="censor", **DEEPAR).fit(validate_panel(contradicted))
    free = validate_panel(fractions.drop(columns=[STOCK, CENSORED]))
    sold = DeepAR(distribution="student_t", **DEEPAR).fit(free).predict(_future(panel), n_paths=9)
    assert (sold.paths.to_numpy() != np.rint(sold.paths.to_numpy())).any()
    assert sold.paths.to_numpy().min() >= 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"distribution": "normal"}, "distribution must be one of"),
        ({"distribution": "student_t", "treatment": "censor"}, "needs a distribution of counts"),
        ({"history": "smoothed"}, "history must be one of"),
        ({"lags": (1, 7)}, "lags must be 2 or more"),
        ({"h_train": 99}, "h_train must be between"),
        ({"max_steps": 0}, "max_steps must be 1 or more"),
        ({"val_size": 3}, "val_size must be 0 or at least"),
        ({"learning_rate": 0.0}, "must be positive"),
    ],
)
def test_arguments_that_make_no_sense(options, match) -> None:
    with pytest.raises(CivstatsError, match=match):
        DeepAR(**(DEEPAR | options))


def test_torch_comes_with_the_first_fit_and_its_absence_is_explained(panel, monkeypatch) -> None:
    code = (
        "import sys; from civstats.models import make_forecaster; make_forecaster('DeepAR'); "
        "sys.exit(', '.join({'torch', 'neuralforecast', 'pytorch_lightning'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr("civstats.models.deepar._neural.find_spec", lambda name: None)
    with pytest.raises(CivstatsError, match=r"pip install 'civstats\[deep\]'"):
        DeepAR(**DEEPAR).fit(panel)
