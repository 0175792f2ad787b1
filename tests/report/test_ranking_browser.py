"""The interactive ranking in a browser: sort, search, filter, keys, small screens, no network."""

from __future__ import annotations

import csv
import time

import numpy as np
import pandas as pd
import pytest

from civstats.report import Report, ranking_document, ranking_page
from tests.report.chromium import Browser, find_browser

STORES, DEPARTMENTS = ("CA_1", "TX_2", "WI_3"), ("FOODS_1", "HOBBIES_2")
EVIL = ["=1+1", "<script>window.hit = 1</script>", '"a,b"', "<img src=x onerror='window.hit=1'>"]
N = 120


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    value = np.sort(rng.gamma(1, 20, N))[::-1].round(2)
    names = [f"{DEPARTMENTS[k % 2]}_{k:03d}_{STORES[k % 3]}" for k in range(N)]
    names[5 : 5 + len(EVIL)] = EVIL
    return pd.DataFrame(
        {
            "rank": np.arange(1, N + 1),
            "unique_id": names,
            "value_mean": value,
            "value_p10": 0.2 * value,
            "value_p90": 2.5 * value,
            "prob_top_k": rng.random(N).round(3),
            "stockout_probability": rng.random(N).round(3) / 4,
            "driver": [("demand", "price", "stockouts")[k % 3] for k in range(N)],
            "dept_id": [DEPARTMENTS[k % 2] for k in range(N)],
            "store_id": [STORES[k % 3] for k in range(N)],
        }
    )


def sparklines(ids: pd.Series) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=84)
    table = pd.DataFrame({"unique_id": np.repeat(ids, 84), "ds": np.tile(days, len(ids))})
    past = table["ds"] < days[56]
    y = 3 + np.sin(np.arange(len(table)))
    return table.assign(
        y=np.where(past, y, np.nan),
        is_out=past & (np.arange(len(table)) % 9 == 0),
        mean=np.where(past, np.nan, 3.0),
        p10=np.where(past, np.nan, 1.0),
        p90=np.where(past, np.nan, 5.0),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    table = frame()
    page = ranking_page(table, sparklines(table["unique_id"]), title="All", currency="$", k=30)
    where = tmp_path_factory.mktemp("pages")
    (where / "alone.html").write_text(ranking_document(page, title="Ranking"), encoding="utf-8")
    report = Report("What being in stock is worth")
    report.section("Decision")
    report.text("Some words before the ranking.")
    report.fragment(page)
    (where / "report.html").write_text(report.to_html(), encoding="utf-8")
    return where


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium on this machine to open pages with")
    try:
        opened = Browser(program, tmp_path_factory.mktemp("browser"))
    except (RuntimeError, TimeoutError, OSError) as error:
        pytest.skip(f"Chromium does not start here: {error}")
    yield opened
    opened.close()


@pytest.fixture(params=["alone.html", "report.html"])
def page(request, browser, folder):
    shown = browser.open(folder / request.param)
    yield shown
    assert shown.complaints() == []
    asked = [e["request"]["url"] for e in shown.seen("Network.requestWillBeSent")]
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked), asked
    assert shown.js("window.hit") is None
    shown.close()


def names(page) -> list[str]:
    return page.js("[...document.querySelectorAll('.rp-name bdi')].map(x => x.textContent)")


def column(page, k: int) -> list[str]:
    return page.js(
        f"[...document.querySelectorAll('[data-ranking] tbody tr')].map(r => r.cells[{k}].innerText)"
    )


def status(page) -> str:
    return page.js("document.querySelector('[data-part=status]').textContent")


def choose(page, name: str, value: str) -> None:
    page.js(
        f"(s => {{ s.value = {value!r}; s.dispatchEvent(new Event('change')) }})"
        f"(document.querySelector('select[data-filter={name}]'))"
    )


def search(page, words: str) -> None:
    page.js("document.querySelector('[data-part=search]').focus()")
    page.call("Input.insertText", text=words)


def test_it_opens_in_order_and_says_how_many(page):
    assert names(page) == frame()["unique_id"].tolist()[:25]
    assert status(page).startswith("Showing 1 to 25 of 120; sorted by rank, ascending")
    assert page.js("document.querySelectorAll('.rp-spark svg').length") == 25


def test_a_click_sorts_and_another_turns_the_order(page):
    table = frame()
    head = "document.querySelector('th[data-sort=prob_top_k] button').click()"
    page.js(head)
    want = table.sort_values("prob_top_k", ascending=False, kind="stable")["unique_id"]
    assert names(page) == want.tolist()[:25]
    assert page.js("document.querySelector('th[data-sort=prob_top_k]').ariaSort") == "descending"
    page.js(head)
    want = table.sort_values("prob_top_k", kind="stable")["unique_id"]
    assert names(page) == want.tolist()[:25]


def test_search_and_filters_by_store_and_department(page):
    table = frame()
    choose(page, "store_id", "TX_2")
    choose(page, "dept_id", "HOBBIES_2")
    both = table[(table["store_id"] == "TX_2") & (table["dept_id"] == "HOBBIES_2")]
    assert names(page) == both["unique_id"].tolist()[:25]
    assert f"of {len(both)} that match, 120 in all" in status(page)
    search(page, "_07")
    found = both[both["unique_id"].str.contains("_07")]
    assert 0 < len(found) < len(both)
    assert names(page) == found["unique_id"].tolist()
    page.js("document.querySelector('[data-part=reset]').click()")
    assert status(page).startswith("Showing 1 to 25 of 120;")


def test_all_of_it_is_reached_by_keyboard(page):
    page.js("document.querySelector('[data-part=search]').focus()")
    seen = []
    for _ in range(40):
        seen.append(
            page.js(
                "(a => a.dataset.part ?? a.dataset.filter ?? a.closest('th')?.dataset.sort ?? a.className)"
                "(document.activeElement)"
            )
        )
        if seen[-1] == "size":
            break
        page.press("Tab")
    wanted = ["search", "store_id", "dept_id", "driver", "reset", "download", "scroll", "rank"]
    assert [x for x in seen if x in wanted][: len(wanted)] == wanted
    assert {"unique_id", "value_mean", "prob_top_k", "next", "size"} <= set(seen)
    page.js("document.querySelector('th[data-sort=unique_id] button').focus()")
    page.press("Enter")
    assert status(page).endswith("sorted by series, ascending.")
    page.press(" ")
    assert status(page).endswith("sorted by series, descending.")
    page.js("document.querySelector('[data-part=next]').focus()")
    page.press("Enter")
    assert status(page).startswith("Showing 26 to 50")


def test_names_stay_text(page):
    for name in EVIL:
        page.js("document.querySelector('[data-part=reset]').click()")
        search(page, name)
        assert name in names(page)
    assert page.js("document.querySelectorAll('[data-ranking] img').length") == 0


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_sticks_out_of_the_window(browser, folder, width):
    for file in ("alone.html", "report.html"):
        shown = browser.open(folder / file, width=width)
        assert shown.js("document.documentElement.scrollWidth") <= width
        inside, whole = shown.js(
            "(s => [s.clientWidth, s.scrollWidth])(document.querySelector('[data-ranking] .scroll'))"
        )
        if width == 1280:
            # No column is out of sight on a usual screen.
            assert whole <= inside
        else:
            # The name and the value are in sight without scrolling sideways.
            right = shown.js(
                "document.querySelector('[data-ranking] tbody tr').cells[2].getBoundingClientRect().right"
            )
            assert right <= width
        # A name breaks behind a mark, never inside a word.
        lines = shown.js(
            "(b => b.getBoundingClientRect().height / parseFloat(getComputedStyle(b).lineHeight))"
            "(document.querySelector('.rp-name bdi'))"
        )
        assert lines < 2.5
        low, high = shown.js(
            "['th[data-sort=rank] button', 'th:not([data-sort])'].map(q => {"
            "const n = document.querySelector('[data-ranking] thead ' + q);"
            "const r = document.createRange(); r.selectNodeContents(n.firstChild);"
            "return r.getBoundingClientRect().bottom })"
        )
        assert abs(low - high) < 1.5
        shown.close()


def test_the_download_holds_the_rows_that_match_and_runs_no_formula(browser, folder):
    shown = browser.open(folder / "alone.html")
    choose(shown, "store_id", "CA_1")
    shown.js("document.querySelector('[data-part=download]').click()")
    file = browser.downloads / "ranking.csv"
    until = time.monotonic() + 20
    # The file is there, empty, before its text is.
    while not (file.exists() and file.stat().st_size) and time.monotonic() < until:
        time.sleep(0.1)
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {r["store_id"] for r in rows} == {"CA_1"}
    table = frame()
    want = table[table["store_id"] == "CA_1"]["unique_id"].map(
        lambda x: f"'{x}" if x.startswith("=") else x
    )
    assert [r["unique_id"] for r in rows] == want.tolist()
    shown.close()


def test_an_address_opens_a_filtered_view(browser, folder):
    shown = browser.open(
        folder / "alone.html", address="#all-series?is.store_id=WI_3&sort=-value_mean"
    )
    assert all(x == "WI_3" for x in column(shown, 9))
    assert "sorted by value" in status(shown)
    shown.close()
