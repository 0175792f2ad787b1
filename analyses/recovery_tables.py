"""From sums over worlds to the frames of the recovery study: scores, gaps closed, checks, breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from recovery_breaks import BREAKS

from civstats.evaluation.recovery import Estimate, gap_closed, pool, ratio
from civstats.schema import SCORES

Results = Mapping[tuple[str, float, str, str, str], Sequence[Mapping[str, np.ndarray]]]
"""Sums of every fit, a list over seeds."""
ORACLES = {"oracle_lags": "same lags", "oracle": "full"}


class Pooled:
    """Looks a fit up and pools its sums over worlds; the full oracle is the world without stockouts.

    The oracle has the treatment's own likelihood: under ``censor``, without flags, that is the plain
    negative binomial; under ``ignore`` and ``mask`` it is Tweedie's.
    """

    def __init__(self, results: Results) -> None:
        self.results = results

    def worlds(
        self, mechanism: str, rate: float, model: str, treatment: str, trained_on: str = "sales"
    ) -> Sequence[Mapping[str, np.ndarray]] | None:
        """Return the sums of a fit, one mapping a seed, or None if it was not run."""
        if trained_on == "oracle":
            mechanism, rate, trained_on = "none", 0.0, "sales"
        return self.results.get((mechanism, rate, model, treatment, trained_on))

    def has(self, *key: object) -> bool:
        """Tell whether a fit was run."""
        return self.worlds(*key) is not None  # type: ignore[arg-type]

    def sum(self, name: str, *key: object) -> np.ndarray:
        """Return a pooled sum, shape (1 + n_boot,)."""
        worlds = self.worlds(*key)  # type: ignore[arg-type]
        assert worlds is not None
        return pool(worlds, name)

    def bias(self, *key: object) -> Estimate:
        """Return the bias against demand."""
        return ratio(self.sum("error", *key), self.sum("demand", *key))

    def bias_difference(self, a: tuple, b: tuple) -> tuple[Estimate, list[float]]:
        """Return bias of a minus bias of b, paired; and the same of every seed."""
        difference = self.sum("error", *a) - self.sum("error", *b)
        found = ratio(difference, self.sum("demand", *a))
        pairs = zip(self.worlds(*a) or (), self.worlds(*b) or (), strict=True)
        return found, [float((x["error"] - y["error"])[0] / x["demand"][0]) for x, y in pairs]


def score_frame(results: Results) -> pd.DataFrame:
    """Return the score frame of all fits, with mechanism, rate and what they were trained on.

    Regime ``demand`` holds a forecast against demand, ``demand_mean`` against its true mean.
    """
    found = Pooled(results)
    records = []
    for key in results:
        n = found.sum("n", *key)
        known = "error_mean" in results[key][0]
        root = np.sqrt(found.sum("loss", *key) / n)
        loss_regime = "demand_mean" if known else "demand"
        rows = [("demand", "bias", np.nan, found.bias(*key), np.nan)]
        rows.append((loss_regime, "rmse", np.nan, ratio(root, np.ones(len(root))), np.nan))
        if known:
            # What the true mean itself would show against the demand that came.
            top = found.sum("demand_mean", *key) - found.sum("demand", *key)
            rows[0] = (*rows[0][:4], float(top[0] / found.sum("demand", *key)[0]))
            of_mean = ratio(found.sum("error_mean", *key), found.sum("demand_mean", *key))
            rows.append(("demand_mean", "bias", np.nan, of_mean, 0.0))
        for level in (80, 95):
            expected = np.nan
            if all(f"expected_{level}" in world for world in results[key]):
                expected = float(found.sum(f"expected_{level}", *key)[0] / n[0])
            inside = ratio(found.sum(f"inside_{level}", *key), n)
            rows.append(("demand", "coverage", float(level), inside, expected))
        mechanism, rate, model, treatment, trained_on = key
        for regime, metric, level, value, expected in rows:
            records.append(
                (
                    *(mechanism, rate, trained_on, model, treatment, regime, metric, level),
                    *(pd.NaT, value.value, value.lo, value.hi, int(n[0])),
                    *(expected, value.identified),
                    "" if value.identified else "undefined: nothing to divide by",
                )
            )
    return pd.DataFrame(records, columns=["mechanism", "rate", "trained_on", *SCORES])


def over_worlds(by_seed: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % t interval of a mean over worlds; NaN for one world."""
    from scipy import stats

    if len(by_seed) < 2:
        return np.nan, np.nan
    error = np.std(by_seed, ddof=1) / np.sqrt(len(by_seed))
    half = float(stats.t.ppf(0.975, len(by_seed) - 1) * error)
    return float(np.mean(by_seed)) - half, float(np.mean(by_seed)) + half


def recovery_frame(results: Results) -> pd.DataFrame:
    """Return the gap closed by every treatment but ``ignore``, against both oracles."""
    found = Pooled(results)
    records = []
    for mechanism, rate, model, treatment, trained_on in results:
        ignore = (mechanism, rate, model, "ignore")
        if trained_on != "sales" or treatment == "ignore" or not found.has(*ignore):
            continue
        mine = (mechanism, rate, model, treatment)
        for oracle, name in ORACLES.items():
            best = (*mine, oracle)
            if mechanism == "none" or not found.has(*best):
                continue
            losses = [found.sum("loss", *k) for k in (ignore, mine, best)]
            n = found.sum("n", *mine)[0]
            gap = gap_closed(*losses)
            bias, by_seed = found.bias_difference(mine, best)
            low, high = over_worlds(by_seed)
            shares = [
                float((a["loss"][0] - b["loss"][0]) / (a["loss"][0] - c["loss"][0]))
                for a, b, c in zip(
                    *(found.worlds(*k) or () for k in (ignore, mine, best)), strict=True
                )
            ]
            records.append(
                {
                    "mechanism": mechanism,
                    "rate": rate,
                    "model": model,
                    "treatment": treatment,
                    "oracle": name,
                    "seeds": len(by_seed),
                    "loss_ignore": losses[0][0] / n,
                    "loss": losses[1][0] / n,
                    "loss_oracle": losses[2][0] / n,
                    "gap": gap.gap.value / n,
                    "gap_lo": gap.gap.lo / n,
                    "gap_hi": gap.gap.hi / n,
                    "gap_closed": gap.value,
                    "lo": gap.lo,
                    "hi": gap.hi,
                    "identified": gap.identified,
                    "bias": found.bias(*mine).value,
                    "bias_oracle": found.bias(*best).value,
                    "bias_difference": bias.value,
                    "bias_difference_lo": bias.lo,
                    "bias_difference_hi": bias.hi,
                    "bias_difference_worlds_lo": low,
                    "bias_difference_worlds_hi": high,
                    "bias_difference_seed_min": min(by_seed),
                    "bias_difference_seed_max": max(by_seed),
                    "gap_closed_seed_min": min(shares),
                    "gap_closed_seed_max": max(shares),
                }
            )
    return pd.DataFrame(records)


def agreement_frame(results: Results) -> pd.DataFrame:
    """Return differences of bias where theory says there are none.

    `lo` and `hi` resample series and days within the worlds; `worlds_lo` and `worlds_hi` are a t
    interval over seeds, which also holds the luck of each world's training.
    """
    found = Pooled(results)
    pairs = [("none", 0.0, "mask", "ignore"), ("none", 0.0, "censor", "ignore")]
    rates = sorted({k[1] for k in results if k[0] == "random"})
    pairs += [("random", rate, "censor", "mask") for rate in rates]
    records = []
    for mechanism, rate, a, b in pairs:
        first, second = ((mechanism, rate, "LightGBM", t) for t in (a, b))
        if not (found.has(*first) and found.has(*second)):
            continue
        value, by_seed = found.bias_difference(first, second)
        low, high = over_worlds(by_seed)
        records.append(
            {
                "mechanism": mechanism,
                "rate": rate,
                "difference": f"{a} − {b}",
                "seeds": len(by_seed),
                "value": value.value,
                "lo": value.lo,
                "hi": value.hi,
                "worlds_lo": low,
                "worlds_hi": high,
            }
        )
    return pd.DataFrame(records)


def bias_frame(results: Results) -> pd.DataFrame:
    """Return bias by mechanism, rate and treatment of LightGBM, the oracles beside it."""
    found = Pooled(results)
    records = []
    for mechanism, rate, model, treatment, trained_on in results:
        if model != "LightGBM" or mechanism in BREAKS:
            continue
        value = found.bias(mechanism, rate, model, treatment, trained_on)
        records.append((mechanism, rate, treatment, trained_on, value.value, value.lo, value.hi))
    columns = ["mechanism", "rate", "treatment", "trained_on", "value", "lo", "hi"]
    return pd.DataFrame(records, columns=columns)


def break_frame(results: Results) -> pd.DataFrame:
    """Return the bias curve of every break, and its distance from the full oracle's bias."""
    found = Pooled(results)
    records = []
    for key in results:
        kind, severity, model, treatment, _ = key
        if kind not in BREAKS:
            continue
        value = found.bias(*key)
        away = Estimate(np.nan, np.nan, np.nan)
        if found.has("none", 0.0, model, treatment):
            away, _ = found.bias_difference(key, ("none", 0.0, model, treatment))
        records.append(
            {
                "kind": kind,
                "severity": severity,
                "label": BREAKS[kind].label(severity),
                "value": value.value,
                "lo": value.lo,
                "hi": value.hi,
                "from_oracle": away.value,
                "from_oracle_lo": away.lo,
                "from_oracle_hi": away.hi,
            }
        )
    if not records:
        return pd.DataFrame()
    frame = pd.DataFrame(records)
    order = frame["kind"].map({name: i for i, name in enumerate(BREAKS)})
    frame = frame.assign(order=order).sort_values(["order", "severity"], ignore_index=True)
    return frame.drop(columns="order")
