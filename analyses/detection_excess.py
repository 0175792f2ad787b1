"""What M5 itself shows: zeros that the demand model does not explain, by department, with examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from civstats.schema import DS, ID, P_OUT, STATIC, STATUS, STATUSES, Y, series_index, validate_panel
from civstats.stockouts.detect import Detection, detect, fit_availability

STORES = [f"{s}_{k}" for s, n in (("CA", 4), ("TX", 3), ("WI", 3)) for k in range(1, n + 1)]
LONG = 7
"""Days of a run of suspect days from which it counts as long."""
_DEPT = STATIC[1]


@dataclass(frozen=True)
class Excess:
    """What the survey of raw M5 found.

    Attributes
    ----------
    departments : pandas.DataFrame
        ``sample, department, series, days, zeros, out, lo, hi, sure, long, status shares``.
    examples : pandas.DataFrame
        ``unique_id, ds, y, p_out, status`` of the series drawn.
    facts : dict
        Fitted rates by sample.
    """

    departments: pd.DataFrame
    examples: pd.DataFrame
    facts: dict[str, dict[str, float]]


def sample_stores(
    config: dict, stores: str | list[str], n: int, days: int | None = None
) -> pd.DataFrame:
    """Load a random sample of series, the same number of every store."""
    from civstats.data.m5 import load_m5

    stores = [stores] if isinstance(stores, str) else stores
    rng = np.random.default_rng(config["seed"])
    parts = []
    for store in stores:
        panel = load_m5(config["path"], stores=store, last_days=days or config["days"])
        ids = panel[ID].cat.categories
        picked = rng.choice(ids, min(max(n // len(stores), 1), len(ids)), replace=False)
        parts.append(panel[panel[ID].isin(picked)])
    whole = pd.concat(
        [p.astype({c: str for c in p.columns if p[c].dtype == "category"}) for p in parts],
        ignore_index=True,
    )
    kinds = {c: "category" for c in (*STATIC, *(x for x in whole if x.startswith("event")))}
    return validate_panel(whole.astype(kinds))


def survey(config: dict) -> Excess:
    """Ask of a random sample of one store and of all stores how often items look out of stock."""
    tables, facts, examples = [], {}, None
    for name, stores in ((config["store"], config["store"]), ("all stores", STORES)):
        panel = sample_stores(config, stores, config["excess_series"], config["excess_days"])
        with threadpool_limits(1):
            fitted = fit_availability(
                panel,
                sample_rows=2 * config["sample_rows"],
                rounds=config["rounds"],
                n_jobs=1,
                seed=config["seed"],
            )
        found = detect(panel, fitted, n_jobs=1)
        tables.append(by_department(panel, found, config["boot"], config["seed"]))
        tables[-1].insert(0, "sample", name)
        params = fitted.parameters_
        facts[name] = {
            x: float(np.mean(getattr(params, x)))
            for x in ("out_rate", "back_rate", "dispersion", "level_sd")
        }
        if examples is None:
            examples = drawn(panel, found, config["seed"])
    return Excess(pd.concat(tables, ignore_index=True), examples, facts)


def by_department(panel: pd.DataFrame, found: Detection, n_boot: int, seed: int) -> pd.DataFrame:
    """Share of item-days that look out of stock, by department and over all, bootstrap over series.

    Days on which an item was not for sale are no item-days; their shares are of all rows.
    """
    index = series_index(panel)
    codes = index.codes()
    p = found.frame[P_OUT].to_numpy()
    on_sale = np.isfinite(p)
    suspect = on_sale & (np.nan_to_num(p) >= 0.5)
    columns = {
        "rows": np.ones(len(p)),
        "days": on_sale,
        "zeros": on_sale & (panel[Y].to_numpy() == 0),
        "out": np.nan_to_num(p),
        "sure": suspect,
        "long": _in_long_runs(suspect, codes),
    }
    status = found.frame[STATUS].cat.codes.to_numpy()
    columns |= {s: status == STATUSES.index(s) for s in STATUSES[2:]}
    sums = pd.DataFrame({k: np.bincount(codes, v) for k, v in columns.items()})
    dept = panel[_DEPT].to_numpy()[index.starts].astype(str)
    rng = np.random.default_rng(seed)
    rows = []
    for name in (*sorted(set(dept)), "all"):
        mine = sums[(dept == name) | (name == "all")]
        total = mine.sum()
        times = rng.multinomial(len(mine), np.full(len(mine), 1 / len(mine)), size=n_boot)
        draws = (times @ mine["out"].to_numpy()) / (times @ mine["days"].to_numpy())
        lo, hi = np.quantile(draws, [0.025, 0.975])
        rows.append(
            {
                "department": name,
                "series": len(mine),
                "days": int(total["days"]),
                "zeros": total["zeros"] / total["days"],
                "out": total["out"] / total["days"],
                "lo": lo,
                "hi": hi,
                "of_zeros": total["out"] / total["zeros"],
                "sure": total["sure"] / total["days"],
                "long": total["long"] / total["days"],
                **{s: total[s] / total["rows"] for s in STATUSES[2:]},
            }
        )
    return pd.DataFrame(rows)


def _in_long_runs(hit: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Mark the days of runs of `LONG` or more hits of one series."""
    change = np.r_[True, (hit[1:] != hit[:-1]) | (codes[1:] != codes[:-1])]
    run = np.cumsum(change) - 1
    return hit & (np.bincount(run)[run] >= LONG)


def drawn(panel: pd.DataFrame, found: Detection, seed: int, n: int = 7) -> pd.DataFrame:
    """Draw a series of each department at random among those with a long suspect run."""
    index = series_index(panel)
    codes = index.codes()
    p = found.frame[P_OUT].to_numpy()
    long = _in_long_runs(np.nan_to_num(p) >= 0.5, codes)
    has = np.bincount(codes, long) > 0
    dept = panel[_DEPT].to_numpy()[index.starts].astype(str)
    rng = np.random.default_rng(seed)
    picked = [
        int(rng.choice(np.flatnonzero(has & (dept == name))))
        for name in sorted(set(dept))
        if (has & (dept == name)).any()
    ][:n]
    rows = np.concatenate([np.arange(index.starts[i], index.ends[i]) for i in picked] or [[]])
    frame = found.frame.iloc[rows.astype(int)].reset_index(drop=True)
    return frame.assign(**{ID: frame[ID].astype(str)}).sort_values([ID, DS], ignore_index=True)
