"""Gates fail for what is wrong, by name, and the numbers are arviz's own."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest

from civstats.diagnostics.gates import GateError, Limits, check_gates, gates, passed
from civstats.diagnostics.parameters import parameter_table
from civstats.diagnostics.sampler import sampler_table
from civstats.schema import CivstatsError

GATES = ["finite draws", "chains move", "R-hat", "bulk ESS", "tail ESS", "divergences", "E-BFMI"]


def drawn(seed: int = 0, chains: int = 4, draws: int = 500) -> tuple[dict, dict]:
    """A good posterior: independent draws, and the sampler's statistics."""
    rng = np.random.default_rng(seed)
    energy = rng.normal(size=(chains, draws))
    posterior = {
        "mu": rng.normal(5, 2, size=(chains, draws)),
        "level": rng.normal(size=(chains, draws, 2, 2)),
        "lost": rng.poisson(3.0, size=(chains, draws)).astype(float),
    }
    return posterior, {"diverging": np.zeros((chains, draws), bool), "energy": energy}


def made(posterior: dict, stats: dict | None) -> az.InferenceData:
    return az.from_dict(
        posterior,
        sample_stats=stats,
        coords={"series": ["a", "b"], "week": pd.to_datetime(["2024-01-01", "2024-01-08"])},
        dims={"level": ["series", "week"]},
    )


def row(table: pd.DataFrame, gate: str) -> pd.Series:
    return table.set_index("gate").loc[gate]


def test_a_good_posterior_passes_and_needs_no_stamp():
    table = gates(made(*drawn()))
    assert list(table["gate"][:7]) == GATES
    assert passed(table)
    assert (table["status"].iloc[:7] == "passed").all()
    assert (table["status"].iloc[7:] == "note").all()
    assert (table["advice"] == "").all()
    assert row(table, "R-hat")["checked"] == 6
    assert check_gates(table) == ""
    assert check_gates(table, allow=True) == ""


def test_the_table_is_what_arviz_says_scalar_by_scalar():
    posterior, stats = drawn()
    rng = np.random.default_rng(1)
    # A random walk and chains that differ: numbers away from 1 and from the count of draws.
    posterior["walk"] = np.cumsum(rng.normal(size=(4, 500)), axis=1) * 0.1 + posterior["mu"]
    idata = made(posterior, stats)
    table = parameter_table(idata, probs=(0.1, 0.9)).set_index("parameter")
    expected = az.summary(idata, kind="all", round_to="none", hdi_prob=0.8)
    dated = next(n for n in expected.index if n.startswith("level[a, 2024-01-08"))
    at = {"level[a, 2024-01-08]": dated, "walk": "walk", "lost": "lost"}
    for mine, theirs in at.items():
        other = expected.loc[theirs]
        for column, name in (
            ("mean", "mean"), ("sd", "sd"), ("mcse_mean", "mcse_mean"), ("rhat", "r_hat"),
            ("ess_bulk", "ess_bulk"), ("ess_tail", "ess_tail"),
        ):  # fmt: skip
            assert table.loc[mine, column] == pytest.approx(other[name], rel=1e-9), (mine, name)
    x = posterior["walk"]
    assert table.loc["walk", "q90"] == pytest.approx(np.quantile(x, 0.9))
    assert table.loc["walk", "mcse_q90"] == pytest.approx(
        float(az.mcse(x, method="quantile", prob=0.9))
    )


def test_monte_carlo_error_of_independent_draws_is_the_textbook_one():
    x = np.random.default_rng(2).normal(size=(4, 2500))
    table = parameter_table({"x": x}, probs=(0.5, 0.9)).iloc[0]
    assert table["mcse_mean"] == pytest.approx(1 / 100, rel=0.1)
    # sqrt(p (1 - p) / n) over the density at the quantile.
    assert table["mcse_q50"] == pytest.approx(np.sqrt(np.pi / 2) / 100, rel=0.15)
    assert table["mcse_q90"] == pytest.approx(0.3 / 0.17550 / 100, rel=0.2)


def spoiled(what: str) -> az.InferenceData:
    posterior, stats = drawn()
    if what == "nan":
        posterior["level"][2, 3, 1, 0] = np.nan
    if what == "stuck":
        posterior["level"][3, :, 0, 1] = 0.25
    if what == "apart":
        posterior["mu"][0] += 3
    if what == "slow":
        rng = np.random.default_rng(3)
        posterior["mu"] = np.repeat(rng.normal(size=(4, 50)), 10, axis=1)
    if what == "divergent":
        stats["diverging"][1, 7] = True
    if what == "energy":
        stats["energy"] = np.cumsum(stats["energy"], axis=1)
    return made(posterior, stats)


@pytest.mark.parametrize(
    ("what", "gate", "names"),
    [
        ("nan", "finite draws", ["level[b, 2024-01-01]"]),
        ("stuck", "chains move", ["level[a, 2024-01-08]"]),
        ("apart", "R-hat", ["mu"]),
        ("slow", "bulk ESS", ["mu"]),
        ("slow", "tail ESS", ["mu"]),
        ("divergent", "divergences", ["chain 1"]),
        ("energy", "E-BFMI", ["chain 0", "chain 1", "chain 2", "chain 3"]),
    ],
)
def test_each_failure_is_found_named_and_advised(what, gate, names):
    table = gates(spoiled(what))
    found = row(table, gate)
    assert found["status"] == "failed"
    assert found["parameters"] == names
    assert found["failing"] == len(names)
    assert found["advice"].strip()
    assert not passed(table)
    with pytest.raises(GateError, match=gate) as error:
        check_gates(table)
    assert names[0] in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, CivstatsError)
    stamp = check_gates(table, allow=True)
    assert gate in stamp
    assert names[0] in stamp


def test_what_is_sound_beside_a_failure_is_not_blamed():
    table = gates(spoiled("divergent"))
    assert (table["status"].iloc[:7] == "failed").sum() == 1
    table = gates(spoiled("nan"))
    # The scalar with NaN is named once; R-hat is judged over the others.
    assert row(table, "R-hat")["status"] == "passed"
    assert row(table, "R-hat")["checked"] == 5


def test_the_limits_are_strict_and_can_be_moved():
    idata = made(*drawn())
    worst = row(gates(idata), "R-hat")["value"]
    assert row(gates(idata, limits=Limits(rhat=worst)), "R-hat")["status"] == "failed"
    assert row(gates(idata, limits=Limits(rhat=worst + 1e-9)), "R-hat")["status"] == "passed"
    least = row(gates(idata), "bulk ESS")["value"]
    assert row(gates(idata, limits=Limits(ess=least)), "bulk ESS")["status"] == "failed"
    one = spoiled("divergent")
    assert row(gates(one, limits=Limits(divergences=1)), "divergences")["status"] == "passed"


def test_one_chain_leaves_rhat_undefined_and_that_does_not_pass():
    posterior, stats = drawn(chains=1, draws=2000)
    table = gates(made(posterior, stats))
    found = row(table, "R-hat")
    assert found["status"] == "undefined"
    assert np.isnan(found["value"])
    assert "2 chains" in found["advice"]
    assert row(table, "bulk ESS")["status"] == "passed"
    with pytest.raises(GateError, match="R-hat is undefined"):
        check_gates(table)


def test_constants_are_noted_and_not_judged():
    posterior, stats = drawn()
    posterior["level"][..., 0, 0] = 0.0
    table = gates(made(posterior, stats))
    assert passed(table)
    note = row(table, "constant parameters")
    assert note["parameters"] == ["level[a, 2024-01-01]"]
    assert note["advice"]
    assert row(table, "R-hat")["checked"] == 5


def test_nothing_that_moves_is_no_pass():
    _, stats = drawn()
    table = gates(made({"mu": np.ones((4, 500))}, stats))
    assert row(table, "R-hat")["status"] == "undefined"
    assert not passed(table)
    # All chains stand still, each elsewhere.
    table = gates(made({"mu": np.arange(4.0)[:, None] + np.full((4, 500), 0.5)}, stats))
    assert row(table, "chains move")["parameters"] == ["mu"]
    assert row(table, "R-hat")["value"] == np.inf


def test_counts_that_rest_at_zero_are_not_stuck():
    posterior, stats = drawn()
    posterior["lost"] = np.zeros((4, 500))
    posterior["lost"][0, :40] = 1.0
    assert row(gates(made(posterior, stats)), "chains move")["status"] == "passed"


def test_missing_statistics_do_not_pass():
    posterior, _ = drawn()
    table = gates(made(posterior, None))
    assert row(table, "divergences")["status"] == "undefined"
    assert row(table, "E-BFMI")["status"] == "undefined"
    with pytest.raises(CivstatsError, match="sample_stats"):
        sampler_table(made(posterior, None))


def test_few_draws_are_undefined_without_a_warning():
    posterior, stats = drawn(chains=2, draws=3)
    table = gates(made(posterior, stats))
    assert set(table["status"].iloc[2:5]) == {"undefined"}


def test_statistics_under_every_samplers_names():
    rng = np.random.default_rng(0)
    energy = rng.normal(size=(2, 40))
    depth = np.full((2, 40), 5)
    depth[1, :4] = 10
    for names in ("depth", "tree_depth"):
        stats = {"diverging": depth < 0, "energy": energy, names: depth}
        table = sampler_table(az.from_dict({"x": energy}, sample_stats=stats))
        assert table["saturated"].tolist() == [0, 4]
        assert table["deepest"].tolist() == [5, 10]
    stats = {
        "diverging": depth < 0,
        "energy": energy,
        "maxdepth_reached": depth == 10,
        "depth": depth,
    }
    assert sampler_table(az.from_dict({"x": energy}, sample_stats=stats))["saturated"].sum() == 4
    stats = {"diverging": depth < 0, "n_steps": 2**depth - 1}
    table = sampler_table(az.from_dict({"x": energy}, sample_stats=stats))
    assert table["saturated"].tolist() == [0, 4]
    assert table["e_bfmi"].isna().all()
    found = sampler_table(
        az.from_dict({"x": energy}, sample_stats={"diverging": depth < 0, "energy": energy})
    )
    expected = (np.diff(energy, axis=1) ** 2).mean(axis=1) / energy.var(axis=1)
    np.testing.assert_allclose(found["e_bfmi"], expected, rtol=0.05)


def test_saturated_trees_are_a_note_with_advice():
    posterior, stats = drawn()
    stats["depth"] = np.full((4, 500), 10)
    table = gates(made(posterior, stats))
    assert passed(table)
    assert row(table, "trees cut short")["value"] == 1.0
    assert "max_treedepth" in row(table, "trees cut short")["advice"]


def test_what_cannot_be_read_is_refused():
    posterior, stats = drawn()
    idata = made(posterior, stats)
    with pytest.raises(CivstatsError, match="no variable nu"):
        gates(idata, var_names=["nu"])
    with pytest.raises(CivstatsError, match="inside"):
        parameter_table(idata, probs=(1.0,))
    with pytest.raises(CivstatsError, match="no group 'posterior'"):
        gates(az.from_dict(sample_stats=stats))
    with pytest.raises(CivstatsError, match="chain"):
        parameter_table(idata.posterior.mean("draw"))
