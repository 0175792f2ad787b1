"""Figures draw what the frames hold, say what is true of it, and can be read."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.text import Text

from civstats import plots
from civstats.plots._style import INK, REGIME_COLOUR, house, label, number, text_width
from civstats.plots.overview import outage_lengths
from civstats.schema import RANKING, SCORES, CivstatsError, validate_panel

MODELS = ("SeasonalNaive", "SeasonalWindowAverage", "CrostonSBA", "IMAPA", "TSB", "CES", "LightGBM")


def _row(
    model, treatment, regime, metric, value, half=0.02, level=np.nan, expected=np.nan, cutoff=pd.NaT
):
    lo, hi = value - half, value + half
    return (
        model,
        treatment,
        regime,
        metric,
        level,
        cutoff,
        value,
        lo,
        hi,
        1000,
        expected,
        True,
        "",
    )


def _scores(
    sales, in_stock, demand, *, models=MODELS, treatments=("ignore", "mask"), expected=None
):
    """Build a score frame in which every model has the same bias under a treatment."""
    expected = expected or {}
    rows = []
    for (i, model), treatment in itertools.product(enumerate(models), treatments):
        for regime, bias in zip(
            ("all_days", "in_stock", "demand"), (sales, in_stock, demand), strict=True
        ):
            if bias is None:
                continue
            bias = bias - (0.1 if treatment == "mask" else 0.0)
            tick = expected.get(regime, np.nan)
            rows.append(_row(model, treatment, regime, "bias", bias, expected=tick))
            error = 2 + 0.1 * i + (0.5 if (treatment == "mask") != (regime == "demand") else 0)
            rows.append(_row(model, treatment, regime, "rmse", error))
            for level in (80.0, 95.0):
                rows.append(
                    _row(
                        model,
                        treatment,
                        regime,
                        "coverage",
                        level / 100 - 0.03,
                        0.01,
                        level,
                        level / 100,
                    )
                )
            rows += [
                _row(model, treatment, regime, "bias", bias, cutoff=pd.Timestamp(f"2024-0{k}-01"))
                for k in (1, 2, 3)
            ]
    return pd.DataFrame(rows, columns=list(SCORES))


FLATTERING = _scores(0.01, 0.1, -0.2, expected={"all_days": 0.25, "in_stock": 0.4, "demand": 0.0})
HARMLESS = _scores(-0.19, -0.19, -0.18, expected={"all_days": 0.0, "in_stock": 0.0, "demand": 0.0})


def _ranking(n=40):
    rng = np.random.default_rng(3)
    value = np.sort(rng.gamma(1.0, 20.0, n))[::-1]
    ids = [f"FOODS_3_{k:03d}_CA_1" for k in range(n)]
    # The fourth is a formula that matplotlib cannot parse: drawing it as one would raise.
    ids[1], ids[2], ids[3] = "$x_1$ <b>", "商品\n🛒", r"$\frac$"
    columns = (np.arange(1, n + 1), ids, value / 2, value / 4, value, value, value / 2, 2 * value)
    frame = dict(zip(RANKING, columns, strict=False))
    return pd.DataFrame({**frame, "prob_top_k": np.linspace(1, 0, n)})


@pytest.fixture(scope="module")
def panel():
    rng = np.random.default_rng(5)
    days = pd.date_range("2024-01-01", periods=200)
    frames = []
    for k in range(4):
        demand = rng.poisson(3 + k, len(days))
        out = rng.random(len(days)) < 0.15
        y = np.where(out, rng.binomial(demand, 0.3), demand)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"FOODS_3_09{k}_CA_1",
                    "ds": days,
                    "y": y,
                    "is_censored": out,
                    "stock": np.where(out, y, np.nan),
                    "demand": demand,
                    "dept_id": f"FOODS_{k % 2}",
                }
            )
        )
    return validate_panel(pd.concat(frames))


@pytest.fixture(scope="module")
def forecast(panel):
    cutoff = panel["ds"].max() - pd.Timedelta(days=28)
    frame = panel[panel["ds"] > cutoff][["unique_id", "ds"]].copy()
    frame["cutoff"] = cutoff
    name = "LightGBM_mask"
    return frame.assign(
        **{name: 4.0, f"{name}-median": 4.0, f"{name}-lo-80": 2.0, f"{name}-hi-80": 6.0}
    )


@pytest.fixture(scope="module")
def all_plots(panel, forecast):
    return _all_plots(panel, forecast)


def _all_plots(panel, forecast):
    wide = _scores(
        0.01, 0.1, -0.2, treatments=("ignore", "mask", "censor"), expected={"in_stock": 0.4}
    )
    ids = list(panel["unique_id"].cat.categories)
    gain = _ranking().set_index("unique_id")["value_mean"].iloc[::-1]
    return {
        "naive 14 rows": plots.naive_evaluation(FLATTERING),
        "naive 21 rows": plots.naive_evaluation(wide, "rmse"),
        "naive, bias only": plots.naive_evaluation(HARMLESS, "bias"),
        "naive, one row": plots.naive_evaluation(
            FLATTERING.query("model == 'CES' & treatment == 'mask'")
        ),
        "coverage": plots.coverage(wide),
        "ranking": plots.ranking(_ranking(), 20, k=10),
        "truth": plots.ranking_truth(_ranking(), gain, 10),
        "series": plots.example_series(panel, forecast, ids, "LightGBM_mask"),
        "one series": plots.example_series(panel, forecast, ids[:1], "LightGBM_mask"),
        "overview": plots.stockout_overview(panel),
    }


def _texts(figure):
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def _words(plot):
    return " ".join(t.get_text().replace("\n", " ") for t in _texts(plot.figure))


def words_of(plot):
    """Everything that is written in a figure."""
    return _words(plot)


def assert_legible(plot, name=""):
    """Hold that no text overlaps another or leaves the figure."""
    with house():
        plot.figure.canvas.draw()
        renderer = plot.figure.canvas.get_renderer()
        hidden = _off_axis(plot.figure)
        boxes = [
            (t.get_text(), t.get_window_extent(renderer))
            for t in _texts(plot.figure)
            if id(t) not in hidden
        ]
    frame = plot.figure.bbox
    for words, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= frame.x1 + 1 and box.y1 <= frame.y1 + 1
        assert inside, f"{name}: {words!r} leaves the figure"
    for (a, box), (b, other) in itertools.combinations(boxes, 2):
        # One point of slack: the boxes include room for letters that go below the line.
        apart = (
            box.x1 <= other.x0 + 2
            or other.x1 <= box.x0 + 2
            or box.y1 <= other.y0 + 3
            or other.y1 <= box.y0 + 3
        )
        assert apart, f"{name}: {a!r} overlaps {b!r}"


def test_no_text_overlaps_another_or_leaves_the_figure(all_plots):
    for name, plot in all_plots.items():
        assert_legible(plot, name)


def _off_axis(figure):
    """Return the tick labels outside their axis' limits: matplotlib keeps them, undrawn."""
    return {
        id(mark.label1)
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for mark in axis.majorTicks
        if not min(axis.get_view_interval()) - 1e-9
        <= mark.get_loc()
        <= max(axis.get_view_interval()) + 1e-9
    }


def test_every_plot_has_alternative_text_and_the_same_bytes_each_time(all_plots, panel, forecast):
    assert all(len(plot.alt) > 40 for plot in all_plots.values())
    again = {
        "naive, bias only": plots.naive_evaluation(HARMLESS, "bias"),
        "ranking": plots.ranking(_ranking(), 20, k=10),
        "overview": plots.stockout_overview(panel),
    }
    for name, plot in again.items():
        content = plot.png()
        assert content == all_plots[name].png(), name
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert b"tEXt" not in content[:200]
        assert b"tIME" not in content[:200]
        assert int.from_bytes(content[16:20], "big") == 1350


def test_the_user_s_settings_are_left_alone_and_do_not_matter(panel, forecast):
    import matplotlib as mpl

    plain = plots.ranking(_ranking()).png()
    with mpl.rc_context({"font.size": 20, "text.parse_math": True, "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert plots.ranking(_ranking()).png() == plain
        assert dict(mpl.rcParams) == before


def test_pyplot_is_never_imported():
    code = (
        "import sys; from civstats import plots; assert 'matplotlib' not in sys.modules;"
        "from tests.test_plots import FLATTERING; plots.naive_evaluation(FLATTERING).png();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _markers(ax, colour, marker):
    """Return (x, y) of the single markers of a colour and shape in one axes."""
    return sorted(
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in ax.lines
        if line.get_marker() == marker
        and len(line.get_xdata()) == 1
        and to_hex(line.get_mfc()) == colour.lower()
    )


def test_the_killer_figure_draws_every_pooled_score_in_its_row():
    frame = FLATTERING.copy()
    frame["value"] = frame["value"] + np.linspace(0, 0.01, len(frame))
    frame.loc[
        frame["metric"].eq("bias") & frame["regime"].eq("in_stock") & (frame["model"] == "TSB"),
        "value",
    ] = np.nan
    figure = plots.naive_evaluation(frame).figure
    for ax, metric in zip(figure.axes, ("bias", "rmse"), strict=True):
        pooled = frame[frame["metric"].eq(metric) & frame["cutoff"].isna()]
        rows = {}
        for regime, marker in (("all_days", "o"), ("in_stock", "s"), ("demand", "D")):
            drawn = _markers(ax, REGIME_COLOUR[regime], marker)
            expected = pooled.loc[pooled["regime"] == regime, "value"].dropna()
            assert np.allclose([x for x, _ in drawn], np.sort(expected))
            for x, y in drawn:
                at = (expected - x).abs().idxmin()
                rows.setdefault((frame.loc[at, "model"], frame.loc[at, "treatment"]), []).append(y)
        assert len(rows) == 14
        centres = [np.mean(v) for v in rows.values()]
        assert all(np.ptp(v) < 0.2 for v in rows.values())
        assert np.diff(np.sort(centres)).min() > 0.25
    assert "n/a" not in _words(plots.naive_evaluation(FLATTERING))


def test_a_missing_score_is_not_drawn_as_zero():
    frame = FLATTERING.copy()
    gone = frame["metric"].eq("bias") & frame["model"].eq("CES") & frame["regime"].eq("demand")
    frame.loc[gone, ["value", "lo", "hi"]] = np.nan
    plot = plots.naive_evaluation(frame, "bias")
    assert len(_markers(plot.figure.axes[0], INK, "D")) == 12
    assert _words(plot).count("n/a") == 2


def test_a_far_outlier_is_named_at_the_edge_and_hides_nothing():
    frame = FLATTERING.copy()
    far = frame["metric"].eq("bias") & frame["model"].eq("CES") & frame["treatment"].eq("mask")
    frame.loc[far, ["value", "lo", "hi"]] = 9.0
    plot = plots.naive_evaluation(frame, "bias")
    assert plot.figure.axes[0].get_xlim()[1] < 2
    assert "+900 % ▸" in _words(plot)


def test_caption_when_the_naive_evaluation_flatters():
    caption = plots.naive_evaluation_caption(FLATTERING)
    assert caption.startswith(
        "**Judged on sales, ignoring stockouts looks fine; judged on demand, it is 20 % too low.**"
    )
    assert (
        "the bias is +1 % on all days' sales, +10 % on in-stock days, and −20 % against demand"
        in caption
    )
    assert "below zero for 7 of 7 models. 7 of 7 models look less biased on sales" in caption
    assert "Median bias against demand: −20 % under ignore, −30 % under mask." in caption
    assert (
        "about +25 % on all days' sales and +40 % on in-stock days, since days that stay in stock"
        in caption
    )
    assert "By RMSE SeasonalNaive mask scores lowest against demand (2.00)" in caption
    assert "would choose SeasonalNaive ignore, 25 % worse against demand." in caption
    assert "over 3 forecast origins" in caption


def test_caption_when_it_does_not():
    caption = plots.naive_evaluation_caption(HARMLESS)
    assert caption.startswith("**Judging by sales does not flatter ignoring stockouts here")
    assert "0 of 7 models look less biased on sales" in caption
    assert (
        "A perfect forecast of demand would show about 0 % on all days' sales and 0 % on in-stock days."
        in caption
    )
    assert "too low" not in caption
    assert "looks fine" not in caption
    assert "low demand" not in caption


def test_caption_too_high_mixed_and_without_demand():
    high = plots.naive_evaluation_caption(_scores(0.1, 0.1, 0.3, treatments=("ignore",)))
    assert "looks better than it is; judged on demand, it is 30 % too high" in high
    mixed = pd.concat(
        [_scores(0.0, 0.0, -0.2, models=("a",)), _scores(-0.2, 0.0, 0.0, models=("b",))]
    )
    assert "mixed picture" in plots.naive_evaluation_caption(mixed)
    blind = plots.naive_evaluation_caption(_scores(0.0, 0.1, None))
    assert "Bias against demand is not known here" in blind
    assert "true demand" not in blind
    assert plots.naive_evaluation(_scores(0.0, 0.1, None)).alt


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.floats(-0.6, 0.6)] * 2, st.floats(0, 0.2)),
        min_size=1,
        max_size=7,
        unique=True,
    )
)
def test_caption_counts_agree_with_a_slow_count(triples):
    rows = []
    for k, (sales, demand, half) in enumerate(triples):
        rows.append(_row(f"m{k}", "ignore", "all_days", "bias", sales))
        rows.append(_row(f"m{k}", "ignore", "demand", "bias", demand, half))
    caption = plots.naive_evaluation_caption(pd.DataFrame(rows, columns=list(SCORES)), "bias")
    n = len(triples)
    flattered = sum(abs(s) < abs(d) for s, d, _ in triples)
    low = sum(d + h < 0 for _, d, h in triples)
    high = sum(d - h > 0 for _, d, h in triples)
    assert re.search(rf"{flattered} of {n} models? looks? less biased on sales", caption)
    assert f"below zero for {low}" in caption
    assert ("above it for" in caption) == (high > 0)
    if "too low" in caption:
        assert 3 * low >= 2 * n
        assert np.median([d for _, d, _ in triples]) < 0
    if "too high" in caption:
        assert 3 * high >= 2 * n
    if "looks fine" in caption:
        assert np.median([abs(s) for s, _, _ in triples]) <= 0.05
    if "does not flatter" in caption:
        assert 3 * flattered <= n


def test_score_frames_that_cannot_be_drawn_are_named():
    with pytest.raises(CivstatsError, match=r"lacks column.* expected"):
        plots.naive_evaluation(FLATTERING.drop(columns="expected"))
    with pytest.raises(CivstatsError, match=r"no pooled score of 'crps'.*bias"):
        plots.naive_evaluation(FLATTERING, "crps")
    with pytest.raises(CivstatsError, match="stand there twice"):
        plots.naive_evaluation(pd.concat([FLATTERING, FLATTERING]))
    with pytest.raises(CivstatsError, match="no coverage"):
        plots.coverage(FLATTERING[FLATTERING["metric"] == "bias"])


def test_coverage_claims_discreteness_only_where_the_ticks_show_it():
    assert "Counts are discrete" not in _words(plots.coverage(FLATTERING))
    above = FLATTERING.assign(expected=np.minimum(FLATTERING["level"] / 100 + 0.02, 1))
    plot = plots.coverage(above)
    assert "Counts are discrete" in _words(plot)
    assert "80 % intervals cover 77 %, 95 % intervals cover 92 %" in _words(plot)
    assert [ax.get_title(loc="left") for ax in plot.figure.axes] == [
        "80 % intervals",
        "95 % intervals",
    ]
    assert len(plots.coverage(above, levels=(95,)).figure.axes) == 1


def test_example_series_draws_lost_demand_and_counts_what_the_band_held(panel, forecast):
    ids = list(panel["unique_id"].cat.categories[:2])
    plot = plots.example_series(panel, forecast, ids, "LightGBM_mask", last=100)
    ahead = panel[panel["unique_id"].isin(ids) & (panel["ds"] > forecast["cutoff"].iloc[0])]
    share = ahead["demand"].between(2, 6).mean()
    assert f"held demand on {100 * share:.0f} % of the 28 days" in _words(plot)
    for name, ax in zip(ids, plot.figure.axes, strict=True):
        shown = panel[(panel["unique_id"] == name)].tail(128)
        lost = shown[shown["demand"] > shown["y"]]
        (circles,) = [line for line in ax.lines if line.get_marker() == "o"]
        assert np.array_equal(circles.get_ydata(), lost["demand"])
        (ticks,) = [line for line in ax.lines if line.get_marker() == "|"]
        assert len(ticks.get_xdata()) == shown["is_censored"].sum()
        assert ax.get_title(loc="left") == name


def test_example_series_without_truth_judges_in_stock_sales(panel, forecast):
    ids = list(panel["unique_id"].cat.categories[:2])
    plot = plots.example_series(panel.drop(columns="demand"), forecast, ids, "LightGBM_mask")
    ahead = panel[panel["unique_id"].isin(ids) & (panel["ds"] > forecast["cutoff"].iloc[0])]
    share = ahead.loc[~ahead["is_censored"], "y"].between(2, 6).mean()
    assert f"held in-stock sales on {100 * share:.0f} %" in _words(plot)
    past = panel[panel["ds"] <= forecast["cutoff"].iloc[0]]
    assert "Forecasts for 28 days" in _words(
        plots.example_series(past, forecast, ids, "LightGBM_mask")
    )


def test_example_series_names_what_is_missing(panel, forecast):
    with pytest.raises(CivstatsError, match=r"lacks column.*CES_mask"):
        plots.example_series(panel, forecast, ["x"], "CES_mask")
    with pytest.raises(CivstatsError, match="'x' has no sales or no forecast"):
        plots.example_series(panel, forecast, ["x"], "LightGBM_mask")
    with pytest.raises(CivstatsError, match="1 to 12 series"):
        plots.example_series(panel, forecast, [], "LightGBM_mask")


def test_ranking_shows_names_as_they_are_and_the_share_of_the_first():
    frame = _ranking()
    frame.loc[3, "prob_top_k"] = np.nan
    words = _words(plots.ranking(frame, 20, currency="$", period="28 days", k=10))
    share = frame["value_mean"].head(20).sum() / frame["value_mean"].sum()
    assert f"The first 20 of 40 series hold {100 * share:.0f} % of the expected gain" in words
    assert "$x_1$ <b>" in words
    assert "P(rank ≤ 10)" in words
    assert words.count("undefined") == 1
    with pytest.raises(CivstatsError, match=r"lacks column.*prob_top_k"):
        plots.ranking(frame.drop(columns="prob_top_k"))
    with pytest.raises(CivstatsError, match="no rows"):
        plots.ranking(frame.head(0))


def test_captured_share_agrees_with_a_slow_count():
    frame, rng = _ranking(), np.random.default_rng(0)
    gain = pd.Series(rng.exponential(10, len(frame)), index=frame["unique_id"]).sample(
        frac=1, random_state=1
    )
    plot = plots.ranking_truth(frame, gain, 7)
    acted = sum(gain[i] for i in frame["unique_id"][:7])
    best = sum(sorted(gain)[-7:])
    assert f"captures {100 * acted / best:.0f} % of what the best 7" in _words(plot)
    with pytest.raises(CivstatsError, match="2 ranked series have no true gain"):
        plots.ranking_truth(frame, gain.iloc[2:], 7)
    with pytest.raises(CivstatsError, match="k must lie in 1 to 40"):
        plots.ranking_truth(frame, gain, 41)
    assert "nothing to gain" in plots.ranking_truth(frame, 0 * gain).alt


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
def test_outage_lengths_agree_with_groupby(rows):
    rows = sorted(rows, key=lambda r: r[0])
    expected = [len(list(g)) for (_, out), g in itertools.groupby(rows) if out]
    frame = pd.DataFrame({"unique_id": pd.Categorical([r[0] for r in rows])})
    out = np.array([r[1] for r in rows], dtype=bool)
    assert outage_lengths(frame, out).tolist() == expected


def test_overview_leaves_unknown_days_out(panel):
    frame = panel.copy()
    frame["flag_known"] = frame["ds"] >= pd.Timestamp("2024-03-01")
    known = frame[frame["flag_known"]]
    plot = plots.stockout_overview(frame)
    assert f"ran empty on {100 * known['is_censored'].mean():.0f} % of days" in _words(plot)
    widths = [p.get_width() for p in plot.figure.axes[0].patches]
    shares = known.groupby("dept_id", observed=True)["is_censored"].mean()
    assert np.allclose(widths, shares.sort_values(ascending=False))
    with pytest.raises(CivstatsError, match="no day of the panel has a known stock status"):
        plots.stockout_overview(frame.assign(flag_known=False))
    assert "no outage" in _words(plots.stockout_overview(panel.assign(is_censored=False)))


@pytest.mark.parametrize(
    ("value", "kwargs", "text"),
    [
        (float("nan"), {}, "undefined"),
        (0.0, {"percent": True, "signed": True}, "0 %"),
        (-0.0004, {"percent": True, "signed": True}, "0 %"),
        (0.004, {"percent": True, "signed": True}, "+0.4 %"),
        (-0.196, {"percent": True}, "−20 %"),
        (0.0999, {"percent": True}, "10 %"),
        (12345.6, {}, "12,346"),
        (0.0567, {}, "0.0567"),
    ],
)
def test_numbers_in_words(value, kwargs, text):
    assert number(value, **kwargs) == text


def test_labels_are_short_and_drawable():
    assert label("FOODS_3_090_CA_1") == "FOODS_3_090_CA_1"
    assert label("a\tb\n商") == "a?b??"
    long = label("x" * 100 + "tail", 20)
    assert len(long) == 20
    assert long.endswith("tail")
    assert text_width("i" * 10, 9) < text_width("W" * 10, 9)


def _model_expected(selection=0.10):
    """Scores without truth, each model expecting a bias of its own."""
    frame = _scores(0.02, 0.11, None)
    bias = frame["metric"].eq("bias")
    own = selection + 0.001 * pd.Series(pd.factorize(frame["model"])[0], frame.index)
    frame["expected"] = own.where(bias & frame["regime"].eq("in_stock"), frame["expected"])
    frame.loc[bias & frame["regime"].eq("all_days"), "expected"] = 0.04
    return frame


def test_without_truth_the_dumbbell_joins_all_days_and_in_stock_and_names_selection():
    frame = _model_expected()
    plot = plots.naive_evaluation(frame, "bias")
    (ax,) = plot.figure.axes
    joined = [x for x in ax.lines if len(x.get_xdata()) == 2 and x.get_color() == "#b5b5b5"]
    assert len(joined) == 14
    ends = {tuple(np.round(x.get_xdata(), 6)) for x in joined}
    assert ends == {(0.02, 0.11), (-0.08, 0.01)}
    words = _words(plot)
    assert (
        "In-stock days show ignoring stockouts at a bias of +11 %, where selection alone makes"
        in words
    )
    assert "+10 %" in plot.alt
    assert "if the model is right" in words
    assert "a perfect forecast" not in words
    caption = plots.naive_evaluation_caption(frame)
    assert (
        "selection alone would show about +4 % on all days' sales and +10 % on in-stock" in caption
    )
    assert "ticks the bias to be expected of a model that is right" in caption
    assert "A perfect forecast of demand would show" not in caption
    assert_legible(plot)
    assert_legible(plots.naive_evaluation(frame))


def test_with_truth_the_dumbbell_joins_all_days_and_demand():
    (ax,) = plots.naive_evaluation(FLATTERING, "bias").figure.axes
    joined = [x for x in ax.lines if len(x.get_xdata()) == 2 and x.get_color() == "#b5b5b5"]
    assert {tuple(np.round(x.get_xdata(), 6)) for x in joined} == {(0.01, -0.2), (-0.09, -0.3)}


def test_what_is_not_identified_is_hollow_bracketed_and_never_lowest():
    frame = FLATTERING.copy()
    best = frame["model"].eq("SeasonalNaive") & frame["treatment"].eq("ignore")
    best &= frame["regime"].eq("all_days") & frame["cutoff"].isna()
    frame.loc[best, "identified"] = False
    plot = plots.naive_evaluation(frame)
    assert "(+1 %)" in _words(plot)
    assert "hollow: not identified" in _words(plot)
    assert "hollow" not in _words(plots.naive_evaluation(FLATTERING))
    bias, rmse = plot.figure.axes
    assert len(_markers(bias, "#ffffff", "o")) == 1
    ring = [
        x
        for x in rmse.lines
        if x.get_markersize() == 11 and to_hex(x.get_mec()) == REGIME_COLOUR["all_days"].lower()
    ]
    scored = frame[frame["metric"].eq("rmse") & frame["regime"].eq("all_days")]
    assert (
        min(float(x.get_xdata()[0]) for x in ring)
        >= scored.loc[scored["identified"], "value"].min()
    )
    assert "Hollow markers" in plots.naive_evaluation_caption(frame)
    # The lowest of what is identified is named, not the one in doubt.
    assert (
        "all days' sales would choose SeasonalWindowAverage ignore"
        in plots.naive_evaluation_caption(frame)
    )
