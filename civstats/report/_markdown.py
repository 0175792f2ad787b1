"""The report as Markdown, for places that show no HTML."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from civstats.report._inline import escape_markdown, inline_markdown, markdown

if TYPE_CHECKING:
    from civstats.report.builder import FigureItem, Report, TableItem


def render_markdown(report: Report) -> str:
    """Return the report as CommonMark with GitHub's tables."""
    from civstats.report.builder import Callout, FigureItem, Fragment, Section, TableItem, Text

    inline = partial(inline_markdown, resolve=report.resolve)
    parts = [f"# {escape_markdown(report.title)}"]
    if report.subtitle:
        parts.append(f"*{escape_markdown(report.subtitle)}*")
    if report.key_figures:
        rows = [
            [label, f"{value} ({note})" if note else value]
            for label, value, note in report.key_figures
        ]
        parts.append(_grid(["Key figure", "Value"], [False, True], rows))
    for item in report.items:
        if isinstance(item, Section):
            parts.append(f"{'#' * item.level} {escape_markdown(item.heading)}")
        elif isinstance(item, Text):
            parts.append(markdown(item.text, report.resolve))
        elif isinstance(item, Callout):
            lead = f"**{escape_markdown(item.label)}.** " if item.label else ""
            lines = f"{lead}{markdown(item.text, report.resolve)}".split("\n")
            parts.append("\n".join(f"> {line}".rstrip() for line in lines))
        elif isinstance(item, TableItem):
            parts.append(_table(item, inline(item.caption), [inline(n) for n in item.notes]))
        elif isinstance(item, FigureItem):
            parts.append(_figure(item, report))
        elif isinstance(item, Fragment):
            parts.append(markdown(item.markdown, report.resolve))
    return "\n\n".join(p for p in parts if p) + "\n"


def _table(item: TableItem, caption: str, notes: list[str]) -> str:
    grid = _grid(item.table.header, item.table.numeric, item.table.rows)
    return "\n\n".join([f"**Table {item.number}.** {caption}", grid, *notes])


def _figure(item: FigureItem, report: Report) -> str:
    caption = markdown(item.caption, report.resolve, lead=f"Figure {item.number}.")
    return f"![{escape_markdown(item.alt)}](figures/{item.name}.png)\n\n{caption}"


def _grid(header: list[str], numeric: list[bool], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return f"| {' | '.join(cells)} |"

    rule = ["---:" if n else ":---" for n in numeric]
    body = [line([escape_markdown(c) for c in row]) for row in rows]
    return "\n".join([line([escape_markdown(h) for h in header]), line(rule), *body])
