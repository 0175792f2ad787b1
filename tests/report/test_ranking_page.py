"""The interactive ranking: no name is ever read as HTML, every row is carried."""

from __future__ import annotations

import json
import re

import pandas as pd
import pytest

from civstats.report import Report, ranking_document, ranking_page
from civstats.schema import CivstatsError
from tests.test_report import Page

EVIL = ["=1+1", "<script>alert(1)</script>", '"a,b"', "</script><!--", "מוצר", "日本", "x" * 4000]
FRAME = pd.DataFrame({"unique_id": EVIL, "value_mean": range(len(EVIL), 0, -1)})


def test_names_stay_text_and_come_back_whole():
    fragment = ranking_page(FRAME, title=EVIL[1])
    report = Report("t")
    report.fragment(fragment)
    for html in (report.to_html(), ranking_document(fragment, title=EVIL[3])):
        page = Page(html)
        assert len(page.all("script")) == 2
        assert all(page.words.count(x) >= 1 for x in EVIL)
        text = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
        columns = {c["name"]: c["values"] for c in json.loads(text)["columns"]}
        assert columns["unique_id"] == EVIL
        assert not any(k.startswith("on") or k == "style" for _, a in page.tags for k in a)


def test_a_series_twice_is_refused():
    with pytest.raises(CivstatsError, match="more than once"):
        ranking_page(pd.concat([FRAME, FRAME]), title="t")
