"""From replications to a verdict: how often the truth comes first, and whether it does on average."""

from __future__ import annotations

import numpy as np
import pandas as pd
from score_cells import CONTENDERS, TRUTH

CELLS = ["setting", "h", "regime", "metric"]
ENOUGH = 0.95
"""Share of replications in which the truth must win for a score to be believed from one panel."""
SURE = 4.0
"""Standard errors that make an average difference a fact: some 900 of them are looked at."""
YES, MORE, NO, OPEN = "yes", "with more data", "no", "not shown"
VERDICTS = {
    YES: "the truth beats each distortion the score can tell from it, taken one at a time, in "
    "95 % of the replications or more",
    MORE: "the truth is ahead of every one of them on average, but one panel of this "
    "size decides too seldom",
    NO: "some distortion is ahead of the truth on average: more data would make it worse",
    OPEN: "on average, neither is shown",
}


def wilson(hits: np.ndarray, n: np.ndarray, z: float = 1.959964) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's (1927) 95 % interval of shares, each of shape (k,)."""
    hits, n = np.asarray(hits, dtype=float), np.asarray(n, dtype=float)
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and at 1 the bound is exact but for rounding.
    return np.clip(centre - half, 0.0, share), np.clip(centre + half, share, 1.0)


def against(values: pd.DataFrame) -> pd.DataFrame:
    """Hold every contender against the truth.

    Parameters
    ----------
    values : pandas.DataFrame
        ``setting, h, regime, metric, contender, replication, value``, the smaller the better.

    Returns
    -------
    pandas.DataFrame
        A row per cell and contender: ``share`` of replications in which the truth is better, with
        `lo` and `hi` (Wilson, 95 %); `excess`, the contender's score less the truth's over the
        truth's, on average, with its standard errors from zero `z`; `blind`: the score never
        differs; `n`.
    """
    wide = values.pivot_table(
        index=[*CELLS, "replication"], columns="contender", values="value", sort=False
    )
    truth = wide.pop(TRUTH)
    gap = wide.sub(truth, axis=0).melt(ignore_index=False, value_name="gap").reset_index()
    gap = gap.dropna(subset="gap")  # the curve is drawn in one regime alone
    gap["win"] = gap["gap"] > 0
    gap["differs"] = gap["gap"].abs() > 1e-12
    level = truth.groupby(CELLS, sort=False).mean()
    found = (
        gap.groupby([*CELLS, "contender"], sort=False)
        .agg(
            n=("win", "size"),
            wins=("win", "sum"),
            mean=("gap", "mean"),
            sd=("gap", "std"),
            differs=("differs", "any"),
        )
        .reset_index()
    )
    found["lo"], found["hi"] = wilson(found["wins"], found["n"])
    base = level.loc[pd.MultiIndex.from_frame(found[CELLS])].to_numpy()
    error = (found["sd"] / np.sqrt(found["n"])).to_numpy()
    mean = found["mean"].to_numpy()
    z = np.full(len(found), np.nan)
    np.divide(mean, error, out=z, where=error > 0)
    out = found.assign(share=found["wins"] / found["n"], excess=mean / base, z=z)
    out["blind"] = ~out.pop("differs")
    return out.drop(columns=["wins", "mean", "sd"])


def first(values: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Count how often the truth comes first, and say which score may be believed.

    Parameters
    ----------
    values : pandas.DataFrame
        As for `against`.
    pairs : pandas.DataFrame
        From `against`.

    Returns
    -------
    pandas.DataFrame
        A row per cell: ``share`` of replications in which the truth beats every contender that the
        score can tell from it, `lo`, `hi`, `n`, `verdict` (of `VERDICTS`), `mean_only`: the
        score does not see the dispersion, and `worst`: the contender that is nearest to the
        truth, or farthest ahead of it, on average.
    """
    seen = pairs[~pairs["blind"] & pairs["contender"].isin(CONTENDERS)]
    wide = values.pivot_table(
        index=[*CELLS, "replication"], columns="contender", values="value", sort=False
    )
    records = []
    for key, part in seen.groupby(CELLS, sort=False):
        table = wide.loc[key]
        wins = table[part["contender"]].gt(table[TRUTH], axis=0).all(axis=1)
        worst = part.loc[part["z"].idxmin()]
        names = set(part["contender"])
        records.append(
            {
                **dict(zip(CELLS, key, strict=True)),
                "wins": int(wins.sum()),
                "n": len(wins),
                "verdict": _verdict(part),
                "mean_only": not any(c.startswith("dispersion") for c in names),
                "worst": worst["contender"],
            }
        )
    out = pd.DataFrame(records)
    out["share"] = out["wins"] / out["n"]
    out["lo"], out["hi"] = wilson(out["wins"], out["n"])
    return out.drop(columns="wins")


def _verdict(part: pd.DataFrame) -> str:
    if (part["z"] < -SURE).any():
        return NO
    if (part["share"] >= ENOUGH).all():
        return YES
    if (part["z"] > SURE).all():
        return MORE
    return OPEN
