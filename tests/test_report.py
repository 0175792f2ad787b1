"""The report: safe whatever the names, whole without a network, the same bytes every time."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from civstats.plots import Plot
from civstats.plots._style import canvas, house
from civstats.report import (
    Report,
    escape_markdown,
    format_number,
    interval_text,
    literal,
    make_table,
)
from civstats.schema import CivstatsError

EVIL = [
    "<script>alert(1)</script>",
    "=1+1",
    '"a,b"',
    "$x_1$",
    "a|b",
    "`code` *em* **strong** _under_ ~~gone~~",
    "[link](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "<img src=x onerror=alert(1)>",
    "&lt;b&gt; &amp;",
    "{{ 7*7 }} {% raw %}",
    "back\\slash",
    "1. not a list",
    "# no heading",
    "</style><script>alert(2)</script>",
]
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A strict reader: every tag closed in order; collects tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.cells: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict]:
        return [a for t, a in self.tags if t == tag]


def _plot(alt: str = "A line that rises.") -> Plot:
    with house():
        figure = canvas(1.0)
        figure.add_axes((0.1, 0.1, 0.8, 0.8)).plot([0, 1], [0, 1])
    return Plot(figure, alt)


def _report(names=EVIL) -> Report:
    report = Report(f"Worth {names[0]}", f"Store {names[3]}")
    report.facts({names[0]: names[1], "Bias": (float("nan"), names[2]), "Series": 1234})
    report.section("Results")
    for name in names:
        report.text(
            f"Series {literal(name)} and `{re.sub('[`]', '', name)}`, see [@ranking] and [@f]."
        )
    report.callout(f"Beware of {literal(names[0])}.", "warning", label=names[0])
    frame = pd.DataFrame({"unique_id": names, "bias": np.linspace(-0.2, 0.1, len(names))})
    report.table(
        frame, f"Caption {literal(names[0])}.", name="ranking", formats={"bias": "percent"}
    )
    report.section(names[0])
    report.subsection(names[4])
    report.figure(_plot(f'A "quoted" {names[0]} ] ) plot'), "f", f"Figure of {literal(names[0])}.")
    return report


def test_html_is_well_formed_safe_and_complete():
    page = Page(_report().to_html())
    assert not page.all("script")
    assert not page.all("iframe")
    assert page.all("html")[0]["lang"] == "en"
    assert any(a.get("name") == "viewport" for a in page.all("meta"))
    assert not any(k.startswith("on") for _, a in page.tags for k in a)
    for name in EVIL:
        assert name in page.cells
        assert page.words.count(name) >= 2
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for a in page.all("a"):
        assert a["href"].startswith("#")
        assert a["href"][1:] in ids
    for th in page.all("th"):
        assert th["scope"] in ("col", "row")
    for div in page.all("div"):
        if "aria-labelledby" in div:
            assert div["aria-labelledby"] in ids


def test_every_image_has_alternative_text_and_stands_in_the_page():
    page = Page(_report().to_html())
    (image,) = page.all("img")
    assert image["alt"] == f'A "quoted" {EVIL[0]} ] ) plot'
    assert image["src"].startswith("data:image/png;base64,")
    assert (image["width"], image["height"]) == ("1350", "150")


def test_nothing_is_fetched_from_anywhere():
    html = _report().to_html()
    page = Page(html)
    for _, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert re.match(r"#|data:image/png;base64,", value), value
    style = html[html.index("<style>") : html.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    assert not page.all("link")


def test_links_lead_to_files_beside_the_report_only():
    report = Report("t")
    report.text(
        "[all](scores.csv) [sub](figures/a.png) [no](http://example.org) [no](//example.org) "
        "[no](javascript:x) [no](/etc/passwd) [no](../x.csv) [no](a/../../x)"
    )
    page = Page(report.to_html())
    assert [a["href"] for a in page.all("a") if a.get("class") != "skip"] == [
        "scores.csv",
        "figures/a.png",
    ]
    assert "[no](http://example.org)" in page.words


def _markdown_page(text: str) -> Page:
    return Page(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def test_markdown_shows_every_name_as_it_is():
    page = _markdown_page(_report().to_markdown())
    assert not page.all("script")
    assert [a["src"] for a in page.all("img")] == ["figures/f.png"]
    assert not page.all("a")
    for name in EVIL:
        assert name in page.cells
        assert page.words.count(name) >= 2
    assert [t for t, _ in page.tags if t in ("h1", "h2", "h3")] == ["h1", "h2", "h2", "h3"]


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
)
def test_any_name_survives_markdown(name):
    table = f"| a | b |\n| --- | --- |\n| {escape_markdown(name)} | 1 |\n"
    assert _markdown_page(table).cells[2:] == [name, "1"]
    report = Report("t")
    report.text(literal(name))
    page = _markdown_page(report.to_markdown())
    assert page.words.replace("\u200b", "").strip().removeprefix("t").strip() == name
    assert [t for t, _ in page.tags] == ["h1", "p"]
    assert [a for a in Page(report.to_html()).tags if a[0] in ("em", "strong", "code")] == []


def test_marks_become_tags():
    report = Report("t")
    report.text(
        "A **strong** and *soft* `x < 1`\nwrapped.\n\n- one\n- two\n  more\n\nEnd.\n\n1. a\n2. b"
    )
    html = report.to_html()
    assert (
        "<p>A <strong>strong</strong> and <em>soft</em> <code>x &lt; 1</code> wrapped.</p>" in html
    )
    assert "<ul><li>one</li><li>two more</li></ul>" in html
    assert "<p>End.</p>" in html
    assert "<ol><li>a</li><li>b</li></ol>" in html
    assert "- one\n- two more\n\nEnd.\n\n1. a\n2. b" in report.to_markdown()


def test_same_input_same_bytes():
    assert _report().to_html() == _report().to_html()
    assert _report().to_markdown() == _report().to_markdown()


def test_numbers_run_through_and_references_find_them():
    report = Report("t")
    report.text("First [@b], then [@a].")
    frame = pd.DataFrame({"x": [1]})
    assert [report.table(frame, "c", name="a"), report.table(frame, "c", name="b")] == [
        "Table 1",
        "Table 2",
    ]
    assert report.figure(_plot(), "p", "c") == "Figure 1"
    assert (
        '<p>First <a href="#b">Table 2</a>, then <a href="#a">Table 1</a>.</p>' in report.to_html()
    )
    assert "First Table 2, then Table 1." in report.to_markdown()


def test_missing_numbers_are_undefined_not_zero():
    report = Report("t")
    report.facts({"Gap closed": float("nan")})
    frame = pd.DataFrame(
        {"model": ["a", None], "gap": [np.nan, 0.5], "n": pd.array([None, 2]), "ds": [pd.NaT] * 2}
    )
    report.table(frame, "c", formats={"gap": "percent"})
    assert Page(report.to_html()).cells[4:] == [
        "a",
        "undefined",
        "undefined",
        "–",
        "–",
        "50.0 %",
        "2",
        "–",
    ]
    assert "| Gap closed | undefined |" in report.to_markdown()


def test_long_tables_are_cut_and_say_so():
    report = Report("t")
    report.table(pd.DataFrame({"x": range(823)}), "c", max_rows=5, full="ranking.csv")
    page = Page(report.to_html())
    assert page.cells == ["x", "0", "1", "2", "3", "4"]
    assert "The first 5 of 823 rows; all of them are in ranking.csv." in page.words
    assert "[ranking.csv](ranking.csv)" in report.to_markdown()


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (-0.1234, "percent", "−12.3 %"),
        (-0.00001, ".2f", "0.00"),
        (-0.00001, "percent", "0.0 %"),
        (1234567.0, "integer", "1,234,567"),
        (float("nan"), "money", "undefined"),
        (float("-inf"), None, "−∞"),
        (12.5, "{:,.1f} in-stock", "12.5 in-stock"),
        (-12.5, "{:,.1f} in-stock", "−12.5 in-stock"),
    ],
)
def test_numbers(value, spec, text):
    assert format_number(value, spec) == text


def test_a_column_keeps_its_decimals():
    table = make_table(
        pd.DataFrame({"x": [0.5, 2.25, 12.0], "whole": [1.0, 2.0, 30.0], "f": [True, False, True]})
    )
    assert [r[0] for r in table.rows] == ["0.50", "2.25", "12.00"]
    assert [r[1] for r in table.rows] == ["1", "2", "30"]
    assert [r[2] for r in table.rows] == ["yes", "no", "yes"]
    assert table.numeric == [True, True, False]


def test_intervals_that_are_missing_are_left_out():
    assert interval_text([0.1, 0.2, np.nan], [0.0, np.nan, np.nan], [0.2, 0.3, np.nan], ".1f") == [
        "0.1 (0.0 to 0.2)",
        "0.2",
        "undefined",
    ]


def test_write_leaves_whole_files_whose_links_hold(tmp_path):
    paths = _report().write(tmp_path)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in paths) == [
        "figures/f.png",
        "report.html",
        "report.md",
    ]
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(paths)
    before = {p: p.read_bytes() for p in paths}
    _report().write(tmp_path)
    assert {p: p.read_bytes() for p in paths} == before


def test_a_report_that_cannot_be_rendered_writes_nothing(tmp_path):
    report = _report()
    report.text("see [@nowhere]")
    with pytest.raises(CivstatsError, match=r"\[@nowhere\] refers to no figure or table"):
        report.write(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda r: r.figure(_plot(), "../x", "c"), "a name of a figure or table is"),
        (lambda r: r.figure(_plot(" "), "x", "c"), "no alternative text"),
        (
            lambda r: (r.figure(_plot(), "x", "c"), r.figure(_plot(), "x", "c")),
            "is taken by Figure 1",
        ),
        (lambda r: r.callout("x", "danger"), "kind must be one of note, warning, key"),
        (lambda r: r.table(pd.DataFrame({"x": [1]}), "c", formats={"z": "percent"}), "no column"),
        (lambda r: Report("t", lang='en"><script>'), "lang must be a language tag"),
    ],
)
def test_misuse_is_named(action, message):
    with pytest.raises(CivstatsError, match=message):
        action(Report("t"))
