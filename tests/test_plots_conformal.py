"""The dots of interval ends: every value is drawn where it belongs and said."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

from civstats.plots.conformal import interval_ends
from civstats.schema import CivstatsError


def frame() -> pd.DataFrame:
    keys = itertools.product(("random", "inventory"), ("ordinary", "censored"), ("lower", "upper"))
    table = pd.DataFrame(list(keys), columns=["group", "method", "end"])
    table["value"] = np.linspace(0.6, 0.95, len(table))
    return table.assign(lo=table["value"] - 0.03, hi=table["value"] + 0.03)


def test_every_value_is_drawn_and_said() -> None:
    table = frame()
    plot = interval_ends(table, 0.9, "A title", "A subtitle", ("censored",))
    for ax, end in zip(plot.figure.axes, ("lower", "upper"), strict=True):
        part = table[table["end"] == end]
        dots = [x for x in ax.lines if x.get_marker() not in ("None", None, "")]
        np.testing.assert_allclose([d.get_xdata()[0] for d in dots], part["value"])
        assert [d.get_ydata()[0] for d in dots] == [0, 1, 2, 3]
        hollow = [d.get_markerfacecolor() == "white" for d in dots]
        assert hollow == [end == "upper" and m == "censored" for m in part["method"]]
        bars = [x for x in ax.lines if len(x.get_xdata()) == 2 and x.get_ydata()[0] in (0, 1, 2, 3)]
        np.testing.assert_allclose(
            [b.get_xdata() for b in bars if b.get_xdata()[0] != 0.9], part[["lo", "hi"]]
        )
        low, high = ax.get_xlim()
        assert low < table["lo"].min() < table["hi"].max() < high
    assert [t.get_text() for t in plot.figure.axes[0].get_yticklabels()] == [
        "ordinary",
        "censored",
    ] * 2
    for words in (
        "A title",
        "random, lower end: ordinary 60 %",
        "inventory, upper end: ordinary 85 %, censored 95 %",
    ):
        assert words in plot.alt
    assert plot.png()[:4] == b"\x89PNG"


def test_the_groups_stand_beside_their_first_row() -> None:
    figure = interval_ends(frame(), 0.9, "A title", "A subtitle").figure
    height = figure.get_size_inches()[1] * figure.dpi
    ax = figure.axes[0]
    for text in figure.texts:
        if text.get_text() in ("random", "inventory"):
            row = {"random": 0, "inventory": 2}[text.get_text()]
            assert text.get_position()[1] * height == pytest.approx(
                ax.transData.transform((0.9, row))[1], abs=2
            )


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(CivstatsError, match="lacks hi"):
        interval_ends(frame().drop(columns="hi"), 0.9, "a", "b")
    with pytest.raises(CivstatsError, match="lacks rows"):
        interval_ends(frame().iloc[:0], 0.9, "a", "b")
    with pytest.raises(CivstatsError, match="twice"):
        interval_ends(pd.concat([frame(), frame()]), 0.9, "a", "b")
    many = frame().assign(method=[f"m{k}" for k in range(8)])
    with pytest.raises(CivstatsError, match="8 methods"):
        interval_ends(many, 0.9, "a", "b")
