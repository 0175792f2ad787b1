"""Tables and figures to one self-contained HTML page and a Markdown twin."""

from civstats.report._inline import escape_markdown, literal
from civstats.report.builder import Fragment, Report
from civstats.report.ranking_page import ranking_document, ranking_page
from civstats.report.tables import Table, format_number, interval_text, make_table

__all__ = [
    "Fragment",
    "Report",
    "Table",
    "escape_markdown",
    "format_number",
    "interval_text",
    "literal",
    "make_table",
    "ranking_document",
    "ranking_page",
]
