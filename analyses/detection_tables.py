"""From what the detectors said to the frames of the detection study, bootstrap intervals included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from detection_worlds import DETECTORS, ONLINE, RULES, SMOOTHED, Found

from civstats.schema import P_OUT, SCORES
from civstats.stockouts.detect import threshold_for

Results = Mapping[tuple[str, float], Sequence[Found]]
"""By mechanism and rate, a list over worlds."""
RATES = (0.05, 0.15)
"""False-alarm rates at which detectors are compared."""
EDGES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
ONLINE_RULE = "zero run online"
BLOCK = 7


class Pool:
    """Days without sales of some movers of all worlds, and bootstrap weights over series and days.

    Weeks of days and series are drawn with replacement, apart from each other (the pigeonhole
    bootstrap; Owen 2007): series share days. Replicate 0 weighs everything once.
    """

    def __init__(self, worlds: Sequence[Found], fast: bool, n_boot: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = [w.fast == fast for w in worlds]
        self.out = np.concatenate([w.out[r] for w, r in zip(worlds, rows, strict=True)])
        self.scores = {
            d: np.concatenate([w.scores[d][r] for w, r in zip(worlds, rows, strict=True)])
            for d in DETECTORS
        }
        weights = []
        self.n_series = 0
        for world, keep in zip(worlds, rows, strict=True):
            ids, series = np.unique(world.series[keep], return_inverse=True)
            week = world.day[keep] // BLOCK
            self.n_series += len(ids)
            by_series = _drawn(rng, len(ids), n_boot)[:, series]
            by_week = _drawn(rng, int(week.max(initial=0)) + 1, n_boot)[:, week]
            weights.append((by_series * by_week).astype(np.float32))
        self.weights = np.concatenate(weights, axis=1)

    def curve(self, detector: str, at: np.ndarray) -> np.ndarray:
        """Share of days out found at false-alarm rates, shape (1 + n_boot, len(at)).

        Days with one score are called together; between two scores a rate is reached by calling
        some of the tied days at random, a straight line.
        """
        order = np.argsort(-self.scores[detector], kind="stable")
        score, out = self.scores[detector][order], self.out[order]
        last = np.r_[np.flatnonzero(np.diff(score) != 0), len(score) - 1]
        found = np.empty((len(self.weights), len(at)))
        for b, weight in enumerate(self.weights):
            w = weight[order].astype(float)
            hits, false = np.cumsum(w * out)[last], np.cumsum(w * ~out)[last]
            found[b] = np.nan
            if hits[-1] > 0 and false[-1] > 0:
                found[b] = np.interp(at, np.r_[0, false / false[-1]], np.r_[0, hits / hits[-1]])
        return found

    def share(self, value: np.ndarray, of: np.ndarray) -> np.ndarray:
        """Weighted share of `value` among the rows `of`, shape (1 + n_boot,)."""
        whole = self.weights @ of.astype(np.float32)
        part = self.weights @ (value * of).astype(np.float32)
        return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _drawn(rng: np.random.Generator, n: int, n_boot: int) -> np.ndarray:
    """How often each of n things is drawn, shape (1 + n_boot, n); row 0 is 1."""
    times = rng.multinomial(n, np.full(n, 1 / n), size=n_boot) if n else np.ones((n_boot, 0))
    return np.vstack([np.ones((1, n)), times])


def interval(draws: np.ndarray) -> tuple[float, float, float]:
    """Return value and 95 % interval of a statistic whose first entry is unweighted."""
    good = draws[1:][np.isfinite(draws[1:])]
    if not len(good):
        return float(draws[0]), float("nan"), float("nan")
    return (float(draws[0]), *(float(x) for x in np.quantile(good, [0.025, 0.975])))


def frames(results: Results, n_boot: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return the scores, the curves and the reliability of every mechanism, rate and mover."""
    scores: list[dict] = []
    curves: list[pd.DataFrame] = []
    reliability: list[dict] = []
    for (mechanism, rate), worlds in results.items():
        if mechanism == "none":
            continue
        for movers in ("fast", "slow"):
            pool = Pool(worlds, movers == "fast", n_boot, seed=0)
            key = {"mechanism": mechanism, "rate": rate, "movers": movers}
            if not pool.out.any() or pool.out.all():
                continue
            scores += [key | row for row in _scores(pool)]
            reliability += [key | row for row in _reliability(pool)]
            grid = np.linspace(0, 0.5, 101)
            plain = pool.weights
            pool.weights = plain[:1]
            for detector in DETECTORS:
                found = pool.curve(detector, grid)[0]
                part = {"detector": detector, "false_alarms": grid, "found": found}
                curves.append(pd.DataFrame(key | part))
    columns = ["mechanism", "rate", "movers", *SCORES]
    table = pd.DataFrame(scores).reindex(columns=columns)
    return table, pd.concat(curves, ignore_index=True), pd.DataFrame(reliability)


def _scores(pool: Pool) -> list[dict]:
    rows = []
    found = {d: pool.curve(d, np.array(RATES)) for d in DETECTORS}
    share_out = pool.share(pool.out.astype(float), np.ones(len(pool.out)))
    for j, rate in enumerate(RATES):
        for d in DETECTORS:
            hits = found[d][:, j] * share_out
            precision = hits / (hits + rate * (1 - share_out))
            rows.append(_row(d, "found", rate, found[d][:, j], pool))
            rows.append(_row(d, "precision", rate, precision, pool))
        for rule in RULES:
            mine = ONLINE if rule == ONLINE_RULE else SMOOTHED
            gain = found[mine][:, j] - found[rule][:, j]
            rows.append(_row(f"{mine} - {rule}", "found", rate, gain, pool))
        for d in (SMOOTHED, ONLINE):
            # The bar that the probabilities themselves set, and what came of it.
            p = pool.scores[d].astype(float)
            called = p >= threshold_for(p, rate)
            false = pool.share(called.astype(float), ~pool.out)
            rows.append(_row(d, "false_alarms", rate, false, pool, expected=rate))
            expected = float(p[called].mean()) if called.any() else np.nan
            true = pool.share(pool.out.astype(float), called)
            rows.append(_row(d, "precision_own_bar", rate, true, pool, expected=expected))
    p = pool.scores[SMOOTHED].astype(float)
    rows.append(_row(SMOOTHED, "out_of_zeros", np.nan, share_out, pool, expected=float(p.mean())))
    return rows


def _row(
    model: str, metric: str, rate: float, draws: np.ndarray, pool: Pool, expected: float = np.nan
) -> dict:
    value, lo, hi = interval(draws)
    return {
        "model": model, "treatment": "ignore", "regime": "zero_days", "metric": metric,
        "level": 100 * rate, "cutoff": pd.NaT, "value": value, "lo": lo, "hi": hi,
        "n": len(pool.out), "expected": expected, "identified": bool(np.isfinite(value)), "note": "",
    }  # fmt: skip


def _reliability(pool: Pool) -> list[dict]:
    p = pool.scores[SMOOTHED].astype(float)
    rows = []
    for k in range(len(EDGES) - 1):
        inside = (p >= EDGES[k]) & ((p < EDGES[k + 1]) | (k == len(EDGES) - 2))
        if inside.sum() < 20:
            continue
        value, lo, hi = interval(pool.share(pool.out.astype(float), inside))
        rows.append(
            {P_OUT: float(p[inside].mean()), "out": value, "lo": lo, "hi": hi, "n": inside.sum()}
        )
    return rows


def facts_frame(results: Results) -> pd.DataFrame:
    """Return each mechanism's and rate's facts, means over worlds."""
    rows = []
    for (mechanism, rate), worlds in results.items():
        mean = pd.DataFrame([w.facts for w in worlds]).mean()
        rows.append({"mechanism": mechanism, "rate": rate, "worlds": len(worlds), **mean})
    return pd.DataFrame(rows)
