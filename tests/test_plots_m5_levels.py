"""M5's scores by level: every score is drawn and said, the title claims what the means show."""

from __future__ import annotations

import pandas as pd
import pytest

from civstats.plots.m5_levels import m5_levels
from civstats.schema import CivstatsError

NAMES = {1: "total", 2: "state", 12: "item x store"}


def frame() -> pd.DataFrame:
    rows = []
    for metric, unit in (("wrmsse", 1.0), ("wspl", 0.3)):
        for model, values in (("Naive", (0.9, 0.5, 1.0)), ("Average", (0.4, 0.6, 0.8))):
            by_level = dict(zip((1, 2, 12), values, strict=True))
            by_level[0] = sum(values) / 3
            rows += [(model, metric, k, unit * v) for k, v in by_level.items()]
    return pd.DataFrame(rows, columns=["model", "metric", "m5_level", "value"])


def test_every_score_is_drawn_in_its_row_and_said():
    scores = frame()
    plot = m5_levels(scores, NAMES)
    panels = plot.figure.axes
    assert [ax.get_title(loc="left") for ax in panels] == ["WRMSSE", "WSPL"]
    for ax, metric in zip(panels, ("wrmsse", "wspl"), strict=True):
        drawn = {
            line.get_label(): line.get_xdata() for line in ax.lines if line.get_marker() in "os"
        }
        for model in ("Naive", "Average"):
            part = scores[(scores["model"] == model) & (scores["metric"] == metric)]
            want = part.set_index("m5_level")["value"][[1, 2, 12, 0]].tolist()
            assert list(drawn[model]) == want
    rows = [t.get_text() for t in panels[0].get_yticklabels()]
    assert rows == ["1  total", "2  state", "12  item x store", "mean of the levels"]
    assert "Average has the lowest WRMSSE, at 2 of 3 levels" in plot.alt
    assert "WSPL, 12  item x store: Naive 0.300, Average 0.240" in plot.alt
    assert "no difference is shown to be more than chance" in " ".join(
        t.get_text().replace("\n", " ") for t in plot.figure.texts
    )
    assert plot.png() == plot.png()


def test_one_model_and_one_score():
    one = frame().query("model == 'Naive' and metric == 'wrmsse'")
    assert "WRMSSE of Naive is 0.800" in m5_levels(one, NAMES).alt


def test_models_are_told_apart_without_colour():
    plot = m5_levels(frame(), NAMES)
    marks = [(x.get_marker(), x.get_markerfacecolor()) for x in plot.figure.axes[0].lines]
    forms = [m for m in marks if m[0] in ("o", "s")]
    assert len({m for m, _ in forms}) == 2


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(CivstatsError, match="lack m5_level"):
        m5_levels(frame().drop(columns="m5_level"), NAMES)
    with pytest.raises(CivstatsError, match="lack rows"):
        m5_levels(frame().iloc[:0], NAMES)
    with pytest.raises(CivstatsError, match=r"16 score\(s\) stand there twice"):
        m5_levels(pd.concat([frame(), frame()]), NAMES)
    many = pd.concat([frame().assign(model=f"M{k}", metric="wspl")[:4] for k in range(7)])
    with pytest.raises(CivstatsError, match="7 models are too many"):
        m5_levels(many, NAMES)
