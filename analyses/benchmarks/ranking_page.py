"""How long a browser takes to open, sort, search and filter the interactive ranking of a whole store.

Run ``python analyses/benchmarks/ranking_page.py --help``; needs Chromium, prints milliseconds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from civstats.report import ranking_document, ranking_page
from tests.report.chromium import Browser, find_browser

DAYS, HISTORY = 84, 56
SORTS = ("value_mean", "prob_top_k", "unique_id", "driver")


def store(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make a ranking of `n` series and its sparklines.

    Parameters
    ----------
    n : int
    seed : int
    """
    rng = np.random.default_rng(seed)
    value = np.sort(rng.gamma(0.5, 20, n))[::-1]
    names = [f"FOODS_{1 + k % 3}_{k:04d}_CA_1_evaluation" for k in rng.permutation(n)]
    frame = pd.DataFrame(
        {
            "rank": np.arange(1, n + 1),
            "unique_id": names,
            "value_mean": value,
            "value_p10": 0.2 * value,
            "value_p90": 2.4 * value,
            "prob_top_k": rng.random(n),
            "stockout_probability": rng.random(n) / 4,
            "driver": rng.choice(["demand", "stockouts", "price"], n),
            "dept_id": [f"FOODS_{1 + k % 3}" for k in range(n)],
            "store_id": [f"CA_{1 + k % 4}" for k in range(n)],
        }
    )
    days = pd.date_range("2024-01-01", periods=DAYS)
    past = np.tile(np.arange(DAYS) < HISTORY, n)
    lines = pd.DataFrame({"unique_id": np.repeat(names, DAYS), "ds": np.tile(days, n)})
    lines["y"] = np.where(past, rng.poisson(3, n * DAYS), np.nan)
    lines["is_out"] = past & (rng.random(n * DAYS) < 0.1)
    for column, height in (("mean", 3.0), ("p10", 1.0), ("p90", 6.0)):
        lines[column] = np.where(past, np.nan, height)
    return frame, lines


def main(
    rows: Annotated[int, typer.Option(help="Series in the ranking.")] = 3049,
    repeats: Annotated[int, typer.Option(help="Pages opened; the median is printed.")] = 5,
) -> None:
    """Print milliseconds of opening and of each kind of change, and the size of the page."""
    program = find_browser()
    if program is None:
        raise SystemExit("no Chromium on this machine")
    frame, lines = store(rows)
    fragment = ranking_page(frame, lines, title="All series", currency="$", k=50)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        file = Path(name) / "ranking.html"
        file.write_text(ranking_document(fragment, title="Ranking"), encoding="utf-8")
        browser = Browser(program, Path(name))
        found = [_measure(browser, file) for _ in range(repeats)]
        size = file.stat().st_size / 1e6
        browser.close()
    table = pd.DataFrame(found)
    print(f"{rows:,} rows, {size:.1f} MB; milliseconds, median and worst of {repeats}")
    for column in table:
        print(f"{column:28s} {table[column].median():8.0f} {table[column].max():8.0f}")


def _measure(browser: Browser, file: Path) -> dict[str, float]:
    page = browser.open(file)
    took = {
        "page loaded": page.js(
            "performance.timing.loadEventEnd - performance.timing.navigationStart"
        )
    }
    took["of it the ranking"] = page.js(
        "performance.getEntriesByName('ranking:open').at(-1).duration"
    )
    for column in SORTS:
        took[f"sort by {column}"] = page.js(
            _until_painted(f"th[data-sort={column}] button", "click")
        )
    took["search"] = page.js(_until_painted("[data-part=search]", "input", "FOODS_2 12"))
    took["filter by store"] = page.js(
        _until_painted("select[data-filter=store_id]", "change", "CA_2")
    )
    assert page.complaints() == []
    page.close()
    return took


def _until_painted(selector: str, event: str, value: str | None = None) -> str:
    """Script that does something and waits until the browser has painted what came of it."""
    given = "" if value is None else f"node.value = {value!r};"
    return (
        "new Promise(done => {"
        f"const node = document.querySelector({selector!r}); const start = performance.now(); {given}"
        f"node.dispatchEvent(new Event({event!r}, {{bubbles: true}}));"
        "requestAnimationFrame(() => setTimeout(() => done(performance.now() - start), 0)) })"
    )


if __name__ == "__main__":
    typer.run(main)
