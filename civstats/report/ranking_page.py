"""The ranking as an interactive table: sort, search, filter, download; one piece of HTML, no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from civstats._csv import _RISKY
from civstats.report.builder import Fragment
from civstats.report.ranking_page_columns import HIGH, LOW, VALUE, Column, checked, columns_of
from civstats.report.ranking_page_data import as_json, cells, sparkline_bytes
from civstats.report.tables import format_number
from civstats.schema import ID, CivstatsError

STATIC_ROWS = 50
SIZES = (10, 25, 50, 100, 250)
FILTERS = ("store_id", "dept_id", "driver")


def ranking_page(
    frame: pd.DataFrame,
    sparklines: pd.DataFrame | None = None,
    *,
    title: str,
    currency: str = "",
    k: int | None = None,
    name: str = "all-series",
    page_size: int = 25,
    file_name: str = "ranking.csv",
    show: Sequence[str] | None = None,
    labels: Mapping[str, str] | None = None,
    formats: Mapping[str, str] | None = None,
    filters: Sequence[str] = FILTERS,
    markdown: str | None = None,
) -> Fragment:
    """Make the interactive ranking of all rows, for `Report.fragment` or `ranking_document`.

    Every row of the frame is in the page. Without a script, or where one may not run, the first 50
    rows stand there as a plain table.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per series. Needs ``unique_id`` (unique) and ``value_mean``; rows are taken in order of
        ``rank`` if it is there, else as they come. Any other column of `COLUMNS` is used if
        it is there: ``value_p10`` and ``value_p90`` (together; drawn as a bar), ``prob_top_k``,
        ``share_of_total`` and ``stockout_probability`` (in [0, 1]), ``units_mean``, ``driver``, ``dept_id``,
        ``store_id``. Further columns are not shown unless `show` names them, but searched if they are text,
        and in the download with everything else.
    sparklines : pandas.DataFrame, optional
        Long: ``unique_id, ds, mean, p10, p90``, and for days before the first forecast ``y`` (sales)
        and ``is_out`` (bool; drawn as a tick, and the line of sales breaks). Days and units are those
        of the panel; NaN breaks a line.
    title : str
        Caption, plain text.
    currency : str
        Stands in the headings of money.
    k : int, optional
        The k of ``prob_top_k``, for its heading.
    name : str
        Anchor in the page; begins the address of a filtered view, ``#all-series?is.dept_id=FOODS_3``.
    page_size : int
        Rows at a time, one of 10, 25, 50, 100, 250.
    file_name : str
        What the download is called.
    show : sequence of str, optional
        Columns to show, in order; may hold ``interval`` and ``spark``.
    labels, formats : mapping, optional
        Headings, and how a column is written: text, integer, number (one decimal), money (two),
        share or percent (of a number in [0, 1], no decimal or one).
    filters : sequence of str
        Text columns to filter by; one that is absent or has a single value gets no filter.
    markdown : str, optional
        What the Markdown twin says instead.

    Returns
    -------
    Fragment

    Raises
    ------
    CivstatsError
        For missing, repeated or infinite columns, repeated series, bounds in the wrong order, an
        unknown format or page size, sparklines that hold a series and day twice.

    Examples
    --------
    >>> frame = pd.DataFrame({"unique_id": ["=1+1", "</script>"], "value_mean": [2.0, 1.0]})
    >>> page = ranking_page(frame, title="Two series", currency="$")
    >>> str(page.html).count("</script>"), "value, $" in page.html
    (2, True)
    """
    full = checked(frame)
    if page_size not in SIZES:
        raise CivstatsError(
            f"page_size must be one of {', '.join(map(str, SIZES))}, but got {page_size}"
        )
    columns = columns_of(
        full, sparklines is not None, currency, k, show, labels or {}, formats or {}
    )
    known = {c.name: c for c in columns}
    visible = [c for c in columns if c.shown]
    values = {str(c): cells(full[c]) for c in full.columns}
    chosen = [
        (c, known[c].label, options)
        for c in filters
        if c in values
        and len(options := sorted({"" if x is None else str(x) for x in values[c]})) > 1
    ]
    has_rank = "rank" in values
    payload = {
        "n": len(full),
        "id": ID,
        "columns": [
            {"name": c, "label": known[c].label, "kind": known[c].kind, "values": v}
            for c, v in values.items()
        ],
        "shown": [c.name for c in visible],
        "labels": {c.name: c.label for c in visible if c.kind in ("interval", "spark")},
        "interval": [VALUE, LOW, HIGH] if LOW in values and HIGH in values else None,
        "spark": None if sparklines is None else sparkline_bytes(sparklines, full[ID]),
        "sort": "rank" if has_rank else VALUE,
        "down": not has_rank,
        "size": page_size,
        "file": file_name,
        "risky": "".join(_RISKY),
    }
    plain = [c for c in visible if c.kind != "spark"]
    html = _template("ranking_page.html.j2").render(
        id=name,
        title=title,
        filters=chosen,
        n=len(full),
        columns=plain,
        key=ID,
        rows=[[_written(c, values, i) for c in plain] for i in range(min(len(full), STATIC_ROWS))],
        sizes=SIZES,
        notes=_notes({c.kind for c in visible}),
        payload=as_json(payload),
        script=Markup(_read("ranking_page.js")),
    )
    said = (
        markdown
        if markdown is not None
        else (
            f"All {len(full):,} series, to sort, search and filter, are in [report.html](report.html)."
        )
    )
    return Fragment(name, Markup(html), Markup(_read("ranking_page.css")), said)


def ranking_document(
    fragment: Fragment, *, title: str, subtitle: str = "", lang: str = "en"
) -> str:
    """Wrap the interactive ranking as a page of its own.

    Its content security policy lets run our own script alone and lets nothing be fetched.

    Examples
    --------
    >>> frame = pd.DataFrame({"unique_id": ["a"], "value_mean": [2.0]})
    >>> page = ranking_document(ranking_page(frame, title="One series"), title="Ranking")
    >>> "default-src 'none'" in page
    True
    """
    style = f"\n{_read('style.css')}{fragment.style}"
    script = f"\n{_read('ranking_page.js')}"
    page = _template("ranking_page_document.html.j2").render(
        title=title,
        subtitle=subtitle,
        lang=lang,
        fragment=fragment.html,
        style=Markup(style),
        script_hash=Markup(_hash(script)),
        style_hash=Markup(_hash(style)),
    )
    return page + "\n"


def _written(column: Column, values: dict[str, list[Any]], i: int) -> str:
    """One cell of the static table."""
    if column.kind == "interval":
        low, high = (_number(values[c][i], "money") for c in (LOW, HIGH))
        return "undefined" if "undefined" in (low, high) else f"{low} to {high}"
    value = values[column.name][i]
    if column.kind == "text":
        return "–" if value is None else str(value)
    return _number(value, column.kind)


def _number(value: float | None, kind: str) -> str:
    return format_number(
        np.nan if value is None else float(value), {"number": "{:,.1f}"}.get(kind, kind)
    )


def _notes(kinds: set[str]) -> list[str]:
    """What the pictures mean."""
    notes = []
    if "interval" in kinds:
        notes.append(
            "Bars run from the 10th to the 90th percentile of the value, the dot is the mean; they share "
            "one scale, that of the rows that match. A click on p10 to p90 sorts by p90."
        )
    if "spark" in kinds:
        notes.append(
            "Sparklines: sales in grey, ticks below for days out of stock, then the forecast mean with its "
            "p10 to p90 band; each has a scale of its own, from zero."
        )
    return notes


def _read(name: str) -> str:
    return (files("civstats.report") / name).read_text(encoding="utf-8")


def _template(name: str) -> Any:
    import jinja2

    return jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(_read(name))


def _hash(text: str) -> str:
    """The source of a script or style as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
