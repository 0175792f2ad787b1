"""The score study: the truth is true, cells equal `evaluate`, verdicts, the folder, refusals."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from civstats.evaluation import evaluate
from civstats.evaluation.distributions import NegBinRows
from civstats.schema import Forecast, level_columns, quantile_column

ANALYSES = Path(__file__).parents[2] / "analyses"
sys.path.insert(0, str(ANALYSES))


def drawn(name="inventory", seed=3, **sizes):
    from score_worlds import SETTINGS, draw

    options = {"n_series": 12, "warm_up": 60, "n_scored": 5, "farthest": 7, **sizes}
    return draw(SETTINGS[name], seed=seed, **options)


def pits(world, h, factor=1.0):
    """Randomised PIT of true demand."""
    from score_cells import distort
    from score_worlds import outcomes

    demand = outcomes(world)[1]
    law = distort(world.truth(h), factor, 1.0)
    u = np.random.default_rng(0).random(len(demand))
    return law.cdf(demand - 1) + u * np.exp(law.log_pmf(demand))


@pytest.mark.parametrize(
    ("name", "h", "slack"),
    [("inventory", 1, 0.012), ("slow orders", 1, 0.012), ("slow orders", 28, 0.03)],
)
def test_the_truth_is_the_law_of_demand(name, h, slack):
    worlds = [drawn(name, seed, n_series=300, n_scored=28, farthest=28) for seed in (1, 2)]
    values = np.concatenate([pits(w, h) for w in worlds])
    assert values.mean() == pytest.approx(0.5, abs=slack)
    assert values.var() == pytest.approx(1 / 12, abs=slack / 2)
    low = np.concatenate([pits(w, h, 0.85) for w in worlds])
    assert low.mean() > 0.5 + slack / 2
    if h > 1:
        # What is not known at the cutoff is in the law: one day's spread would be too narrow.
        sure = [w.truth(h) for w in worlds]
        near = [w.truth(1) for w in worlds]
        for a, b in zip(sure, near, strict=True):
            assert np.log(a.mean).std(axis=1).mean() > 3 * np.log(b.mean).std(axis=1).mean()


@pytest.mark.parametrize("h", [1, 4])
def test_the_truth_knows_nothing_after_its_cutoff(h):
    world = drawn()
    n_scored = len(world.scored)
    base = world.truth(h).mean.reshape(12, n_scored, -1)
    for day, heard in ((world.first - h, True), (world.first - h + 1, False)):
        level = world.level.copy()
        level[:, day] += 1.0
        other = replace(world, level=level).truth(h).mean.reshape(12, n_scored, -1)
        assert (base[:, 0] != other[:, 0]).all() == heard
        assert (base[:, 0] != other[:, 0]).any() == heard


def test_worlds_without_drift_and_shocks_differ_by_them_alone():
    world = drawn("slow orders", n_series=200, n_scored=28, farthest=28)
    # After the warm-up the level is a free random walk.
    steps = np.diff(world.level[:, 60:], axis=1)
    assert steps.std() == pytest.approx(0.1, rel=0.05)
    assert np.corrcoef(steps[:, :-1].ravel(), steps[:, 1:].ravel())[0, 1] == pytest.approx(
        0, abs=0.05
    )
    shock = (
        np.log(world.column("demand_mean"))
        - (world.known[:, world.scored] + world.level[:, world.scored]).ravel()
    )
    shock = shock.reshape(200, -1)
    assert len(np.unique(shock[:, 0].round(3))) == 4  # stores
    assert shock.std() == pytest.approx(0.1, rel=0.35)


def test_quadrature_is_close_enough_to_be_called_the_truth():
    from score_worlds import _CALM, _NODES

    for n, sd in zip(_NODES, (_CALM, np.hypot(0.1 * np.sqrt(28), 0.1)), strict=True):
        laws = []
        for k in (n, 60):
            z, w = np.polynomial.hermite_e.hermegauss(k)
            mean = 20 * np.exp(sd * z)[None, :].repeat(90, 0)
            law = NegBinRows(np.tile(w / w.sum(), (90, 1)), mean, np.full(mean.shape, 4.0))
            laws.append(law.cdf(np.arange(90.0)))
        np.testing.assert_allclose(*laws, atol=1e-3)


def test_quantiles_are_the_smallest_counts_that_reach_them():
    from score_cells import quantiles

    rng = np.random.default_rng(0)
    shape = (50, 3)
    law = NegBinRows(
        rng.dirichlet(np.ones(3), 50), rng.lognormal(0, 2, shape), rng.uniform(0.5, 8, shape)
    )
    wanted = (0.1, 0.5, 0.9)
    found = quantiles(law, wanted)
    for column, p in zip(found.T, wanted, strict=True):
        assert (law.cdf(column) >= p - 1e-9).all()
        assert ((law.cdf(column - 1) < p) | (column == 0)).all()
    # A median of exactly 1/2: the geometric's P(D = 0).
    half = NegBinRows(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)))
    assert quantiles(half, (0.5,))[0, 0] == 0


@pytest.mark.parametrize("h", [1, 7])
@pytest.mark.parametrize("name", ["promotion", "inventory"])
def test_cells_equal_evaluate_on_the_same_rows(name, h):
    from score_cells import BOUNDED, CONTENDERS, PLAIN, distort, make, replicate

    world = drawn(name)
    keys = world.panel[["unique_id", "ds"]].to_numpy().reshape(*world.known.shape, 2)
    keys = keys[:, world.first :].reshape(-1, 2)
    rows = pd.DataFrame({"unique_id": keys[:, 0], "ds": pd.to_datetime(keys[:, 1])})
    rows["cutoff"] = rows["ds"] - pd.Timedelta(days=h)
    predictive, columns = [], []
    for k, factors in enumerate(CONTENDERS.values()):
        made = make(distort(world.truth(h), *factors))
        alias = f"M{k}_ignore"
        low, high = level_columns(alias, 80.0)
        values = {alias: made.mean, low: made.lo}
        values |= {quantile_column(alias, 0.5): made.median, high: made.hi}
        columns.append(pd.DataFrame(values))
        frame = pd.concat([rows, columns[-1]], axis=1)
        n_parts = made.distribution.mean.shape[1]
        for _, part in frame.groupby("cutoff"):
            at = part.index
            take = made.distribution.take(at)
            marginal = part.loc[at.repeat(n_parts), ["unique_id", "ds"]].assign(
                family="negbin",
                weight=take.weight.ravel(),
                mean=take.mean.ravel(),
                dispersion=take.dispersion.ravel(),
            )
            predictive.append(Forecast(part, f"M{k}", "ignore", level=(80.0,), marginal=marginal))
    found = evaluate(
        pd.concat([rows, *columns], axis=1),
        world.panel,
        level=80,
        metrics=[*PLAIN, *BOUNDED],
        predictive=predictive,
        n_boot=0,
        stock_independent=h > 1,
    )
    found = found[found["cutoff"].isna()].set_index(["regime", "metric", "model"])["value"]
    cells = replicate(world, h)
    n = 0
    for (regime, metric, contender), value in cells.items():
        if contender not in CONTENDERS:
            continue
        model = f"M{list(CONTENDERS).index(contender)}"
        assert value == pytest.approx(abs(found[regime, metric, model]), rel=1e-9), (regime, metric)
        n += 1
    assert n == len(found) == len(CONTENDERS) * (3 * len(PLAIN) + len(BOUNDED))


def test_wilson_intervals_are_statsmodels():
    from score_verdicts import wilson
    from statsmodels.stats.proportion import proportion_confint

    hits = np.array([0, 3, 150, 200])
    ours = wilson(hits, np.full(4, 200))
    np.testing.assert_allclose(ours, proportion_confint(hits, 200, method="wilson"), atol=1e-9)


def values_of(gaps, metric="crps"):
    """Make replications of one cell: the truth scores 1, the others 1 + gap + noise."""
    rng = np.random.default_rng(0)
    frames = []
    for contender, (gap, noise) in gaps.items():
        value = 1 + gap + noise * rng.standard_normal(200)
        frames.append(
            pd.DataFrame({"contender": contender, "value": value, "replication": range(200)})
        )
    return pd.concat(frames).assign(setting="s", h=1, regime="censored", metric=metric)


@pytest.mark.parametrize(
    ("gaps", "verdict"),
    [
        ({"mean x 0.85": (0.1, 0.02), "mean x 1.15": (0.1, 0.02)}, "yes"),
        ({"mean x 0.85": (0.1, 0.02), "mean x 1.15": (0.1, 0.1)}, "with more data"),
        ({"mean x 0.85": (0.1, 0.02), "mean x 1.15": (-0.05, 0.1)}, "no"),
        ({"mean x 0.85": (0.1, 0.02), "mean x 1.15": (0.0, 0.1)}, "not shown"),
        # What the score cannot see does not count against it.
        ({"mean x 0.85": (0.1, 0.02), "dispersion x 2": (0.0, 0.0)}, "yes"),
        # Nor do the factors of the curve.
        ({"mean x 0.85": (0.1, 0.02), "mean x 0.95": (-0.1, 0.02)}, "yes"),
    ],
)
def test_verdicts(gaps, verdict):
    from score_verdicts import against, first

    values = values_of({"truth": (0.0, 0.0), **gaps})
    pairs = against(values)
    (cell,) = first(values, pairs).to_dict("records")
    assert cell["verdict"] == verdict
    wide = values.pivot_table(index="replication", columns="contender", values="value")
    seen = [c for c in gaps if gaps[c][1] and c != "mean x 0.95"]
    assert cell["share"] == pytest.approx((wide[seen].gt(wide["truth"], axis=0)).all(axis=1).mean())
    assert cell["lo"] <= cell["share"] <= cell["hi"]
    assert cell["mean_only"]
    blind = pairs.set_index("contender")["blind"]
    assert blind.get("dispersion x 2", True)
    assert (pairs.loc[pairs["blind"], "share"] == 0).all()
    assert not blind["mean x 0.85"]


def test_a_share_short_of_all_is_not_rounded_to_all():
    from score_words import share_text

    assert [share_text(k / 200) for k in (200, 199, 24, 0)] == ["100 %", "99.5 %", "12 %", "0 %"]


def test_pairs_are_counted_by_what_the_score_of_demand_decides():
    from score_models import FAR, NEAR
    from score_sections import agreement

    rows = [
        (NEAR, "crps", "demand", "A", "B", 2.0, "B"),
        (NEAR, "crps", "demand", "A", "C", -2.0, "A"),
        (NEAR, "crps", "demand", "B", "C", 0.1, ""),
        (NEAR, "localised_crps", "censored", "A", "B", 1.0, "B"),
        (NEAR, "localised_crps", "censored", "A", "C", -0.1, ""),
        (NEAR, "localised_crps", "censored", "B", "C", -1.0, "B"),
        (NEAR, "crps", "in_stock", "A", "B", -1.0, "A"),
        (NEAR, "crps", "in_stock", "A", "C", -1.0, "A"),
        (FAR, "crps", "demand", "A", "B", -1.0, "A"),
    ]
    columns = ["horizon", "metric", "regime", "a", "b", "difference", "better"]
    found = agreement(pd.DataFrame(rows, columns=columns))
    table = found.set_index(["horizon", "regime", "metric"])
    table = table[["order", "same", "opposite", "undecided"]]
    assert table.loc[(NEAR, "demand", "crps")].tolist() == ["3 of 3", 2, 0, 0]
    assert table.loc[(NEAR, "censored", "localised_crps")].tolist() == ["2 of 3", 1, 0, 1]
    assert table.loc[(NEAR, "in_stock", "crps")].tolist() == ["1 of 3", 1, 1, 0]
    assert table.loc[(FAR, "in_stock", "crps")].tolist() == ["0 of 1", 0, 0, 1]


ARGUMENTS = (
    "--replications", 3, "--series", 15, "--days", 5, "--warm-up", 40, "--horizons", "1,4",
    "--jobs", 1,
)  # fmt: skip


def run(out, *more):
    from score_study import app

    return CliRunner().invoke(app, [str(a) for a in (*ARGUMENTS, *more, "--out", out)])


def test_it_leaves_the_folder_of_a_study(tmp_path):
    result = run(tmp_path / "out", "--panel-series", 0)
    assert result.exit_code == 0, result.output
    files = {p.name for p in (tmp_path / "out").iterdir()}
    assert files == {
        "report.html", "report.md", "figures", "cells.csv", "contenders.csv",
        "replications.parquet", "manifest.json",
    }  # fmt: skip
    cells = pd.read_csv(tmp_path / "out" / "cells.csv")
    assert len(cells) == 4 * 2 * 24
    assert set(cells["verdict"]) <= {"yes", "with more data", "no", "not shown"}
    values = pd.read_parquet(tmp_path / "out" / "replications.parquet")
    assert np.isfinite(values["value"]).all()
    # The in-stock rows are fewer than all: where stockouts are, their scores differ.
    pair = values[values["metric"].eq("rmse") & values["contender"].eq("truth")]
    wide = pair.pivot_table(index=["setting", "h", "replication"], columns="regime", values="value")
    assert (wide["all_days"] != wide["in_stock"]).all()
    html = (tmp_path / "out" / "report.html").read_text()
    heads = ("Which score may be believed", "Question and design", "Farther ahead", "Limits")
    places = [html.index(f">{x}") for x in heads]
    assert places == sorted(places)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_replications_for_any_jobs():
    from score_study import work

    config = {
        "settings": ["inventory"], "horizons": [1], "replications": 2, "series": 8, "days": 3,
        "warm_up": 40, "seed": 5,
    }  # fmt: skip
    one, two = (work({**config, "jobs": jobs}) for jobs in (1, 2))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.slow
def test_trained_models(tmp_path):
    out = tmp_path / "out"
    result = run(
        out, "--panel-series", 8, "--panel-days", 200, "--h", 7, "--windows", 2, "--near-days", 4,
        "--trees", 5, "--sample-rows", 400, "--boot", 100, "--settings", "inventory",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert (out / "forecasts.parquet").exists()
    scores, coverage, pairs = (
        pd.read_csv(out / f"{x}.csv") for x in ("scores", "coverage", "differences")
    )
    found = scores[(scores["metric"] == "coverage") & (scores["regime"] == "demand")]
    found = found[found["cutoff"].isna()].set_index(["horizon", "model", "treatment"])
    mine = coverage.set_index(["horizon", "model", "treatment"])
    for column, name in (("observed", "value"), ("expected", "expected"), ("lo", "lo")):
        np.testing.assert_allclose(mine[column], found.loc[mine.index, name], atol=1e-9)
    assert (mine["gap_lo"] <= mine["gap_hi"]).all()
    assert len(pairs) == 8 * 15
    assert "Coverage of demand" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--replications", "1"), "--replications must be 2 or more"),
        (("--settings", "nowhere"), "--settings must be some of"),
        (("--horizons", "0"), "--horizons must be"),
        (("--horizons", "soon"), "--horizons must be"),
        (("--warm-up", "3"), "--warm-up must be 30 or more"),
        (("--boot", "3"), "--boot must be 100 or more"),
        (("--near-days", "0"), "--near-days must be 1 or more"),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, message, tmp_path):
    result = run(tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not (tmp_path / "out").exists()
