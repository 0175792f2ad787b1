"""The interactive ranking in the report of `value_of_instock.py`: all rows, each with its days."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from civstats.report import Report, ranking_page
from civstats.schema import DS, ID, Y, quantile_column, stockout_days

if TYPE_CHECKING:
    from value_pricing import Results

_SHOWN = (
    "rank", ID, "value_mean", "interval", "spark", "prob_top_k", "stockout_probability", "driver", "dept_id",
    "store_id",
)  # fmt: skip
_LABELS = {
    "value_mean": "net value",
    "stockout_probability": "days out",
    "gross_mean": "gross value",
    "cumulative_share": "share so far",
    "out_tomorrow_mean": "P(out on day 1)",
    "lost_units_mean": "units lost in the past",
}
_FORMATS = {
    "gross_mean": "money",
    "gross_p10": "money",
    "gross_p50": "money",
    "gross_p90": "money",
    "cost": "money",
    "cumulative_share": "percent",
    "return_mean": "percent",
    "out_tomorrow_mean": "percent",
    "out_tomorrow_p10": "percent",
    "out_tomorrow_p90": "percent",
    "lost_value_mean": "money",
}
HISTORY = 56
"""Days of sales before the cutoff that a sparkline shows."""


def interactive(report: Report, results: Results, config: dict) -> None:
    """Add the whole ranking, to sort, search and filter; nothing where nothing is to gain."""
    report.subsection("All series, to sort, search and filter")
    there = {*results.ranking.columns, "interval", "spark"}
    cutoff = results.backtest.cutoffs[-1]
    report.fragment(
        ranking_page(
            results.ranking,
            sparklines(results),
            title=f"Net value of “{results.choice.title}” in each of {len(results.ranking):,} series over the "
            f"{config['h']} days after {cutoff:%d %b %Y}; sales are those of the {HISTORY} days before.",
            show=[c for c in _SHOWN if c in there],
            labels={c: words for c, words in _LABELS.items() if c in there},
            formats={c: kind for c, kind in _FORMATS.items() if c in there},
            currency=config["currency"],
            k=config["top"],
            markdown=f"All {len(results.ranking):,} series stand in [ranking.csv](ranking.csv), and in "
            "`report.html` to sort, search and filter.",
        )
    )


def sparklines(results: Results, history: int = HISTORY) -> pd.DataFrame:
    """Return the last days of sales and the chosen forecast of the ranked series, long.

    Parameters
    ----------
    results : Results
    history : int
        Days up to the last cutoff.

    Returns
    -------
    pandas.DataFrame
        ``unique_id, ds, y, is_out, mean, p10, p90``, units a day; a day has sales or a forecast,
        never both.
    """
    cutoff = results.backtest.cutoffs[-1]
    ranked = results.ranking[ID].astype(str)
    panel = results.panel
    past = panel[
        (panel[DS] <= cutoff)
        & (panel[DS] > cutoff - pd.Timedelta(days=history))
        & panel[ID].isin(ranked)
    ]
    seen = pd.DataFrame(
        {
            ID: past[ID].astype(str).to_numpy(),
            DS: past[DS].to_numpy(),
            Y: past[Y].to_numpy(dtype=float),
            "is_out": np.asarray(stockout_days(past), dtype=bool),
        }
    )
    return pd.concat([seen, _ahead(results, ranked)], ignore_index=True)


def _ahead(results: Results, ranked: pd.Series) -> pd.DataFrame:
    """Mean and daily p10 and p90 of the forecast that was priced, over the last window."""
    name = results.chosen
    frame = results.backtest.frame
    low, high = (quantile_column(name, p) for p in (0.1, 0.9))
    if low in frame.columns and high in frame.columns:
        rows = frame[(frame["cutoff"] == results.backtest.cutoffs[-1]) & frame[ID].isin(ranked)]
        columns = {"mean": name, "p10": low, "p90": high}
        found = {c: rows[source].to_numpy(dtype=float) for c, source in columns.items()}
        keys = {ID: rows[ID].astype(str).to_numpy(), DS: rows[DS].to_numpy()}
        return pd.DataFrame({**keys, **found})
    # The levels asked for hold no 80 %: the paths that were priced do.
    paths = results.backtest.forecasts[name].paths
    draws = paths.transpose("sample", ID, DS).to_numpy()
    lo, hi = np.quantile(draws, [0.1, 0.9], axis=0)
    keys = pd.MultiIndex.from_product([paths[ID].astype(str).to_numpy(), paths[DS].to_numpy()])
    table = pd.DataFrame(
        {"mean": draws.mean(axis=0).ravel(), "p10": lo.ravel(), "p90": hi.ravel()}, index=keys
    )
    return table.rename_axis([ID, DS]).reset_index()
