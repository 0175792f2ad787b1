"""DeepAR and TFT at the edges: stored under any labels, labels never seen, shelves always empty."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("neuralforecast")

from civstats.models.deepar import TFT, DeepAR  # noqa: E402
from civstats.models.deepar._known import KnownCoding  # noqa: E402
from civstats.models.deepar._series import covariates_of, series_data  # noqa: E402
from civstats.models.deepar._training import training_cut  # noqa: E402
from civstats.schema import (  # noqa: E402
    CENSORED,
    DS,
    ID,
    STOCK,
    CivstatsError,
    DataError,
    PanelError,
    Y,
    stockout_days,
    validate_panel,
)
from tests.models.test_deepar import BOTH, DEEPAR, SMALL, H, _future, _raw, _same  # noqa: E402

NUMBERED = {"a": 12, "b": 3, "c": 7}


@pytest.fixture(scope="module")
def panel() -> pd.DataFrame:
    return validate_panel(_raw())


# --- stored


@BOTH
@pytest.mark.parametrize("column", [ID, "store_id"])
def test_labels_may_be_whole_numbers(model, options, column, tmp_path) -> None:
    raw = _raw()
    raw[column] = raw[column].map(NUMBERED if column == ID else {"S1": 1, "S2": 20})
    numbered = validate_panel(raw)
    fitted = model(treatment="mask", **options).fit(numbered)
    future = _future(numbered).drop(columns="store_id")
    if column == ID:
        future[ID] = future[ID].astype(int)
    fitted.save(tmp_path)
    loaded = model.load(tmp_path)
    _same(fitted.predict(future, n_paths=20), loaded.predict(future, n_paths=20))


@pytest.mark.parametrize("treatment", ["mask", "censor"])
def test_a_loaded_model_keeps_its_filter(treatment, panel, tmp_path) -> None:
    early = validate_panel(panel[panel[DS] <= panel[DS].max() - pd.Timedelta(days=20)])
    fitted = DeepAR(treatment=treatment, **DEEPAR).fit(early)
    fitted.save(tmp_path)
    loaded = DeepAR.load(tmp_path)
    future = _future(panel)
    _same(fitted.update(panel).predict(future), loaded.update(panel).predict(future))


def test_what_cannot_be_stored_leaves_the_older_model(panel, tmp_path) -> None:
    early = DeepAR(**DEEPAR).fit(panel)
    early.save(tmp_path)
    late = DeepAR(**DEEPAR | {"max_steps": np.int64(8)}).fit(panel)
    late.series_ = pd.Index([("a", 1), "b", "c"], tupleize_cols=False)
    with pytest.raises(CivstatsError, match="rename the series"):
        late.save(tmp_path)
    _same(DeepAR.load(tmp_path).predict(_future(panel)), early.predict(_future(panel)))
    late.series_ = early.series_
    late.save(tmp_path)
    assert DeepAR.load(tmp_path).settings.max_steps == 8


@pytest.mark.parametrize(
    "file", ["network.safetensors", "series.npz", "known.parquet", "filter.npz"]
)
@pytest.mark.parametrize("content", [None, b"", b"torn"])
def test_a_torn_folder_is_no_model(file, content, panel, tmp_path) -> None:
    if not (tmp_path.parent / "whole").exists():
        DeepAR(treatment="mask", **DEEPAR).fit(panel).save(tmp_path.parent / "whole")
    for whole in (tmp_path.parent / "whole").iterdir():
        (tmp_path / whole.name).write_bytes(whole.read_bytes())
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError):
        DeepAR.load(tmp_path)


def test_a_checkpoint_belongs_to_the_stockouts_it_was_trained_on(panel, tmp_path) -> None:
    """Which windows touch a stockout decides what is learnt, though no number of theirs is read."""
    options = DEEPAR | {"drop_windows": True, "history": "raw"}
    other = panel.copy()
    calm = (other[ID] == "b") & (other[DS] < other[DS].min() + pd.Timedelta(days=45))
    other.loc[calm, CENSORED] = False
    other.loc[calm, STOCK] = 99.0
    other = validate_panel(other)
    assert (stockout_days(other) != stockout_days(panel)).any()
    DeepAR(checkpoint=tmp_path, **options).fit(panel)
    DeepAR(checkpoint=tmp_path, **options).fit(other)
    assert len(list(tmp_path.glob("training-*.pt"))) == 2


def test_a_checkpoint_of_something_else_is_refused(panel, tmp_path) -> None:
    DeepAR(checkpoint=tmp_path, **DEEPAR).fit(panel)
    (file,) = tmp_path.glob("training-*.pt")
    torch.save({"network": 1}, file)
    with pytest.raises(DataError, match="delete it to start afresh"):
        DeepAR(checkpoint=tmp_path, **DEEPAR).fit(panel)


# --- validation


def test_all_days_held_back_say_when_to_stop(panel) -> None:
    held = DeepAR(**DEEPAR | {"val_size": 3 * H + 2, "max_steps": 1}).fit(panel)
    cut = training_cut(held._windows(), 3 * H + 2, drop_windows=False, name="DeepAR")
    n = len(held._data.dates)
    whole = cut.val_origin[cut.val_series == 0]
    assert whole.tolist() == [n - 3 * H - 2, n - 2 * H - 2, n - H - 2, n - H]
    assert cut.until == n - 3 * H - 2


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"max_steps": 2.5}, "max_steps must be a whole number"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 2**40}, "seed must be at most"),
        ({"num_threads": -1}, "num_threads must be 0 or more"),
        ({"input_size": 14.0}, "input_size must be a whole number"),
    ],
)
@BOTH
def test_numbers_must_be_whole(model, options, given, text) -> None:
    with pytest.raises(CivstatsError, match=text):
        model(**options | given)


def test_a_device_that_is_not_there_is_named(panel) -> None:
    for device in ("foo", *(() if torch.cuda.is_available() else ("cuda",))):
        with pytest.raises(CivstatsError, match="leave it out"):
            DeepAR(device=device, **DEEPAR).fit(panel)


@BOTH
def test_a_covariate_named_like_an_input_of_the_network_is_refused(model, options, panel) -> None:
    named = panel.assign(absent=pd.Categorical(np.where(panel["promo"], "yes", "no")))
    with pytest.raises(PanelError, match="named absent: rename"):
        model(**options).fit(validate_panel(named))


# --- labels never seen


@BOTH
def test_a_label_never_seen_has_the_mean_of_those_seen(model, options, panel) -> None:
    network = model(**options).fit(panel).network_
    tables = [*network.futr_cat_embeddings, *network.stat_cat_embeddings]
    assert tables
    for table in tables:
        weight = table.weight.detach().numpy()
        np.testing.assert_allclose(weight[0], weight[1:].mean(axis=0), atol=1e-6)


# --- shelves that empty every day


def test_scales_of_shelves_that_empty_every_day_stay_near_what_was_sold() -> None:
    days = pd.date_range("2024-01-01", periods=80)
    rng = np.random.default_rng(0)
    frames = []
    for name in "abcdef":
        demand = rng.poisson(4.0, len(days))
        stock = np.full(len(days), 3) if name == "a" else np.full(len(days), 99)
        frame = {ID: name, DS: days, Y: np.minimum(demand, stock), CENSORED: demand >= stock}
        frames.append(pd.DataFrame(frame).assign(**{STOCK: stock.astype(float)}))
    panel = pd.concat(frames)
    panel.loc[panel[ID] == "a", [Y, CENSORED]] = [3, True]
    panel = validate_panel(panel)
    coding = KnownCoding.learn(covariates_of(panel))
    data = series_data(panel, "censor", panel[Y].to_numpy(dtype=np.float32), coding)
    every = np.arange(6)
    scale = data.scale(every, np.full(6, 80), 56)
    assert 3 < scale[0] < 7
    np.testing.assert_allclose(scale[1:], 4.0, rtol=0.15)
    # Launched on the eve of the origin, seen for a day: more like itself than like the others.
    early = data.scale(every, np.full(6, 1), 56)
    others = data.target[1:, 0]
    assert (abs(early[1:] - others) < abs(data.overall - others) + 1e-6).all()


# --- Student's t


@pytest.mark.parametrize(("model", "options"), [(DeepAR, DEEPAR), (TFT, SMALL)])
def test_the_mean_of_student_t_is_that_of_draws_cut_at_zero(model, options, panel) -> None:
    found = model(distribution="student_t", **options).fit(panel).predict(_future(panel))
    mean = found.frame[found.name].to_numpy()
    assert (mean > found.frame[f"{found.name}-median"].to_numpy() - 1e-6).mean() > 0.9
    if found.paths is not None:
        paths = DeepAR(distribution="student_t", **options).fit(panel)
        drawn = paths.predict(_future(panel), n_paths=4000).paths
        frame = paths.predict(_future(panel), n_paths=4000).frame
        total = drawn.sum(DS).to_numpy()
        expected = frame[found.name].to_numpy().reshape(-1, H).sum(axis=1)
        error = 5 * total.std(axis=1) / np.sqrt(4000)
        assert (np.abs(total.mean(axis=1) - expected) < error + 1e-3).all()
