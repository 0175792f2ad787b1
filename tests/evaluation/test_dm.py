"""Diebold-Mariano against R's dm.test, SciPy's paired t-test and loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from civstats.evaluation.pairwise import diebold_mariano
from civstats.schema import CivstatsError, ForecastError

REFERENCE = Path(__file__).parent / "reference"


@pytest.fixture(scope="module")
def errors():
    frame = pd.read_csv(REFERENCE / "dm_errors.csv")
    return {name: part[["a", "b"]].abs() for name, part in frame.groupby("series")}


def test_the_examples_of_r_print_the_same(errors):
    # ?dm.test of R's forecast: errors of ETS and ARIMA for WWWusage, in the sample and after it.
    for name, statistic, p_value in (("inside", 1.9078, 0.05932), ("outside", -0.14392, 0.8871)):
        loss = errors[name] ** 2
        test = diebold_mariano(loss["a"], loss["b"])
        assert float(f"{test.statistic:.5g}") == statistic
        assert float(f"{test.p_value:.4g}") == p_value


@pytest.mark.filterwarnings("ignore:the variance over:RuntimeWarning")
def test_every_figure_of_r(errors):
    table = pd.read_csv(REFERENCE / "dm_test.csv", keep_default_na=False)
    assert len(table) > 150
    assert (table["variance"] == "negative").sum() == 12
    for row in table.itertuples():
        loss = errors[row.series] ** row.power
        test = diebold_mariano(
            loss["a"],
            loss["b"],
            h=row.h,
            alternative=row.alternative.replace(".", "-"),
            kernel="uniform" if row.kernel == "acf" else row.kernel,
        )
        assert test.n == row.n
        assert test.statistic == pytest.approx(row.statistic, rel=1e-10)
        assert test.p_value == pytest.approx(row.p_value, rel=1e-10)
        assert test.lags == (0 if row.variance == "negative" else row.h - 1)


def test_one_step_ahead_it_is_the_paired_t_test():
    rng = np.random.default_rng(0)
    a, b = rng.gamma(2.0, 1.0, (2, 17))
    for alternative in ("two-sided", "less", "greater"):
        test = diebold_mariano(a, b, alternative=alternative)
        want = stats.ttest_rel(a, b, alternative=alternative)
        assert test.statistic == pytest.approx(want.statistic, rel=1e-12)
        assert test.p_value == pytest.approx(want.pvalue, rel=1e-12)
    assert test.difference == pytest.approx(np.mean(a) - np.mean(b))


def test_without_the_correction_it_is_normal_and_its_variance_a_loop():
    rng = np.random.default_rng(1)
    a, b = rng.gamma(2.0, 1.0, (2, 40))
    gap = a - b - (a - b).mean()
    for kernel in ("uniform", "bartlett"):
        test = diebold_mariano(a, b, h=3, small_sample=False, kernel=kernel)
        total = sum(x * x for x in gap)
        for lag in (1, 2):
            weight = 1.0 if kernel == "uniform" else 1 - lag / 3
            total += 2 * weight * sum(gap[t] * gap[t - lag] for t in range(lag, 40))
        assert test.standard_error == pytest.approx(np.sqrt(total) / 40, rel=1e-12)
        assert test.statistic == pytest.approx(test.difference / test.standard_error)
        assert test.p_value == pytest.approx(2 * stats.norm.sf(abs(test.statistic)), rel=1e-12)


def test_a_negative_variance_is_said_aloud():
    a = np.where(np.arange(20) % 2, 1.0, 3.0) + 0.01 * np.arange(20)
    with pytest.warns(RuntimeWarning, match="over 1 lags is not positive: tested without lags"):
        test = diebold_mariano(a, np.full(20, 1.9), h=2)
    assert (test.h, test.lags) == (2, 0)
    assert test.standard_error == pytest.approx(a.std() / np.sqrt(20))
    assert diebold_mariano(a, np.full(20, 1.9), h=2, kernel="bartlett").lags == 1


def test_what_cannot_be_tested_is_refused():
    x = np.arange(10.0)
    with pytest.raises(
        ForecastError, match=r"2 period\(s\) with a loss missing or infinite, first at 1"
    ):
        diebold_mariano(np.where((x == 1) | (x == 4), np.nan, x), x)
    with pytest.raises(ForecastError, match="shapes"):
        diebold_mariano(x, x[1:])
    with pytest.raises(ForecastError, match="shapes"):
        diebold_mariano([x], [x])
    with pytest.raises(
        CivstatsError, match=r"10 period\(s\) are too few to test forecasts 6 ahead"
    ):
        diebold_mariano(x, x**2, h=6)
    with pytest.raises(CivstatsError, match=r"4 period\(s\) are too few"):
        diebold_mariano(x[:4], x[:4] ** 2)
    for shift in (0.0, 0.1):
        with pytest.raises(CivstatsError, match="no variance to test by"):
            diebold_mariano(x, x + shift)
    for h in (0, 1.5, True):
        with pytest.raises(CivstatsError, match="h must be a whole number"):
            diebold_mariano(x, x**2, h=h)
    with pytest.raises(CivstatsError, match="alternative must be one of"):
        diebold_mariano(x, x**2, alternative="two.sided")
    with pytest.raises(CivstatsError, match="kernel must be one of"):
        diebold_mariano(x, x**2, kernel="acf")
