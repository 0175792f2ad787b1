"""The report as one self-contained HTML page."""

from __future__ import annotations

import base64
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING

from civstats.report._inline import html, inline_html

if TYPE_CHECKING:
    from civstats.report.builder import Report


def render_html(report: Report) -> str:
    """Fill the template; every value passes jinja2's autoescape."""
    import jinja2
    from markupsafe import Markup

    folder = files("civstats.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "template.html.j2").read_text(encoding="utf-8"))
    style = (folder / "style.css").read_text(encoding="utf-8")
    page = template.render(
        report=report,
        # Our own file, not anybody's input.
        style=Markup(style),
        text=partial(html, resolve=report.resolve),
        inline=partial(inline_html, resolve=report.resolve),
        base64=lambda png: base64.b64encode(png).decode(),
        kind=lambda item: type(item).__name__,
    )
    return page if page.endswith("\n") else page + "\n"
