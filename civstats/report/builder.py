"""A study as a document: sections of text, tables, figures and key figures, in order."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from civstats._io import atomic
from civstats.report.tables import Format, Table, make_table
from civstats.schema import CivstatsError

if TYPE_CHECKING:
    from markupsafe import Markup

    from civstats.plots import Plot

_KINDS = {"note": "Note", "warning": "Caution", "key": "In short"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Section:
    """A heading; `level` 2 for a section, 3 for a part of one."""

    heading: str
    level: int
    anchor: str


@dataclass(frozen=True)
class Text:
    """Paragraphs and lists in the marks of `civstats.report._inline`."""

    text: str


@dataclass(frozen=True)
class Callout:
    """A paragraph set apart."""

    text: str
    kind: str
    label: str


@dataclass(frozen=True)
class TableItem:
    """A numbered table."""

    table: Table
    caption: str
    number: int
    anchor: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FigureItem:
    """A numbered figure, already rendered; width and height in pixels."""

    png: bytes = field(repr=False)
    alt: str
    caption: str
    number: int
    anchor: str
    name: str
    width: int
    height: int


@dataclass(frozen=True)
class Fragment:
    """HTML of our own making, its style for the page's head, and what Markdown says instead.

    `anchor` is the id of its outermost element, and what its other ids begin with.
    """

    anchor: str
    html: Markup = field(repr=False)
    style: Markup = field(repr=False)
    markdown: str


Item = Section | Text | Callout | TableItem | FigureItem | Fragment


class Report:
    """Collect a document in order, then write it as one HTML page and as its Markdown twin.

    Text, captions and callouts take a few marks: ``**strong**``, ``*emphasis*``, ``` `code` ```,
    ``[words](scores.csv)``, ``[@name]`` for a figure or table, lists with ``- ``. Wrap foreign
    text, such as a series' name, in `civstats.report.literal`. Headings, labels and cells of
    tables are plain text. Nothing in the output depends on the time or the machine.

    Parameters
    ----------
    title : str
    subtitle : str
        One line under the title.
    lang : str
        Language of the page, BCP 47.

    Examples
    --------
    >>> import pandas as pd
    >>> report = Report("What being in stock is worth", "Store S1")
    >>> report.facts({"Series": 120, "Bias against demand": "−18 %"})
    >>> report.section("Results")
    >>> report.text("Forecasts that **ignore** stockouts are too low; see [@scores].")
    >>> report.table(pd.DataFrame({"bias": [-0.18]}), "Scores.", name="scores")
    'Table 1'
    >>> "Table 1" in report.to_html() and "[@scores]" not in report.to_markdown()
    True
    """

    def __init__(self, title: str, subtitle: str = "", *, lang: str = "en") -> None:
        if not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", lang):
            raise CivstatsError(f"lang must be a language tag such as 'en', but got {lang!r}")
        self.title = title
        self.subtitle = subtitle
        self.lang = lang
        self.items: list[Item] = []
        self.key_figures: list[tuple[str, str, str]] = []
        self._labels: dict[str, tuple[str, str]] = {}
        self._anchors: set[str] = set()

    def section(self, heading: str) -> None:
        """Begin a section; it appears in the table of contents."""
        self.items.append(Section(heading, 2, self._anchor(heading)))

    def subsection(self, heading: str) -> None:
        """Begin a part of a section."""
        self.items.append(Section(heading, 3, self._anchor(heading)))

    def text(self, text: str) -> None:
        """Add paragraphs or lists; blank lines part them."""
        self.items.append(Text(text))

    def callout(self, text: str, kind: str = "note", label: str | None = None) -> None:
        """Add a paragraph set apart; `kind` is ``note``, ``warning`` or ``key``."""
        if kind not in _KINDS:
            raise CivstatsError(f"kind must be one of {', '.join(_KINDS)}, but got {kind!r}")
        self.items.append(Callout(text, kind, _KINDS[kind] if label is None else label))

    def facts(self, facts: Mapping[str, object]) -> None:
        """Add key figures for the top of the document: label to value, or to (value, small print).

        Values are shown as given if text; numbers get thousands separators; NaN is "undefined".
        """
        for label, value in facts.items():
            shown, note = value if isinstance(value, tuple) else (value, "")
            cell = make_table(pd.DataFrame({"value": [shown]})).rows[0][0]
            self.key_figures.append((label, cell, str(note)))

    def table(
        self,
        frame: pd.DataFrame,
        caption: str,
        *,
        formats: Mapping[str, Format] | None = None,
        labels: Mapping[str, str] | None = None,
        max_rows: int = 20,
        missing: str = "undefined",
        full: str | None = None,
        note: str = "",
        name: str | None = None,
    ) -> str:
        """Add a numbered table and return its label, such as "Table 2".

        Parameters
        ----------
        frame, formats, labels, max_rows, missing
            As in `civstats.report.make_table`.
        caption : str
        full : str, optional
            The file beside the report that holds all rows, named where the table is cut.
        note : str
            Small print under the table.
        name : str, optional
            What ``[@name]`` in a text refers to.
        """
        table = make_table(
            frame, formats=formats, labels=labels, max_rows=max_rows, missing=missing
        )
        notes = [note] if note else []
        if table.n_rows > len(table.rows):
            where = f"; all of them are in [{full}]({full})" if full else ""
            notes.append(f"The first {len(table.rows)} of {table.n_rows:,} rows{where}.")
        number = 1 + sum(isinstance(i, TableItem) for i in self.items)
        label = f"Table {number}"
        anchor = self._register(name or f"table-{number}", label)
        self.items.append(TableItem(table, caption, number, anchor, tuple(notes)))
        return label

    def figure(self, plot: Plot, name: str, caption: str) -> str:
        """Add a numbered figure, written as ``figures/{name}.png`` too; return its label.

        Raises
        ------
        CivstatsError
            If the name is no plain file name, is taken, or the plot has no alternative text.
        """
        if not plot.alt.strip():
            raise CivstatsError(
                f"figure {name!r} has no alternative text; say in `alt` what it shows"
            )
        number = 1 + sum(isinstance(i, FigureItem) for i in self.items)
        label = f"Figure {number}"
        anchor = self._register(name, label)
        png = plot.png()
        width, height = struct.unpack(">II", png[16:24])
        self.items.append(FigureItem(png, plot.alt, caption, number, anchor, name, width, height))
        return label

    def fragment(self, fragment: Fragment) -> None:
        """Add a piece of HTML, such as `ranking_page` makes; raises if its anchor is taken."""
        if fragment.anchor in self._anchors:
            raise CivstatsError(f"the anchor {fragment.anchor!r} is taken; choose another")
        self._anchors.add(fragment.anchor)
        self.items.append(fragment)

    def resolve(self, name: str) -> tuple[str, str]:
        """Return the label and the anchor of a figure or table."""
        if name not in self._labels:
            have = ", ".join(sorted(self._labels)) or "none"
            raise CivstatsError(
                f"[@{name}] refers to no figure or table of the report; it has {have}"
            )
        return self._labels[name]

    def to_html(self) -> str:
        """Return the report as one HTML page that needs nothing else."""
        from civstats.report._html import render_html

        return render_html(self)

    def to_markdown(self) -> str:
        """Return the report as Markdown; figures are linked as ``figures/{name}.png``."""
        from civstats.report._markdown import render_markdown

        return render_markdown(self)

    def write(self, folder: str | Path) -> list[Path]:
        """Write report.html, report.md and figures/*.png; return the paths.

        Everything is rendered before the first file is written, and each file appears whole.
        """
        root = Path(folder)
        files: dict[Path, bytes] = {
            root / "figures" / f"{i.name}.png": i.png
            for i in self.items
            if isinstance(i, FigureItem)
        }
        files[root / "report.md"] = self.to_markdown().encode()
        files[root / "report.html"] = self.to_html().encode()
        for path, content in files.items():
            with atomic(path) as temporary:
                temporary.write_bytes(content)
        return list(files)

    def _register(self, name: str, label: str) -> str:
        if not _NAME.fullmatch(name):
            raise CivstatsError(
                f"a name of a figure or table is lower-case letters, digits, - and _, but got {name!r}"
            )
        if name in self._labels:
            raise CivstatsError(
                f"the name {name!r} is taken by {self._labels[name][0]}; choose another"
            )
        self._labels[name] = (label, self._anchor(name))
        return self._labels[name][1]

    def _anchor(self, text: str) -> str:
        base = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "part"
        anchor, k = base, 2
        while anchor in self._anchors:
            anchor, k = f"{base}-{k}", k + 1
        self._anchors.add(anchor)
        return anchor
