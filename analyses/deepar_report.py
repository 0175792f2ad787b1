"""The report of `deepar_ablation.py`: what each treatment costs, held against the targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from deepar_fits import NEURAL, ORACLE, Forecasts, Row
from deepar_scores import Scores
from deepar_tables import (
    coverage_table,
    decided,
    order_text,
    pooled,
    real_table,
    real_verdict,
    score_table,
    verdict,
)
from deepar_worlds import World as Panel
from score_cells import LEVEL

from civstats.plots.ablation import Example, ablation, treatments_side_by_side
from civstats.report import Report, format_number, literal
from civstats.schema import CENSORED, CUTOFF, DEMAND, DS, ID, Y, level_columns, parse_alias

SHOWN = {"sales taken for demand": "DeepAR_ignore", "stockouts as bounds": "DeepAR_censor"}
"""Panels of the figure of example series."""
NEAR_BIAS, NEAR_COVERAGE = 0.05, 0.03
_BEFORE = 42


@dataclass(frozen=True)
class World:
    """What the report needs of one world."""

    name: str
    mechanism: str
    panel: pd.DataFrame
    scores: Scores
    examples: list[Example]
    rows: list[Row]
    left_out: dict[str, str]


def examples(world: Panel, made: Forecasts, config: dict) -> list[Example]:
    """Choose two series by rule and cut out their last window.

    Of the series with the most units in the days before the cutoff (the upper fifth), those whose
    shares of stockout days before it are nearest to the 50th and the 80th percentile.
    """
    panel, cutoff = world.panel, made.frame[CUTOFF].max()
    first = cutoff - pd.Timedelta(days=_BEFORE)
    shown = panel[panel[DS] > first]
    past = shown[shown[DS] <= cutoff].groupby(ID, observed=True)
    units, share = past[DEMAND].sum(), past[CENSORED].mean()
    large = units[units >= units.quantile(0.8)].index
    share = share.loc[large]
    chosen: list[object] = []
    for q in (0.5, 0.8):
        left = share.drop(index=chosen)
        if len(left):
            chosen.append((left - share.quantile(q)).abs().idxmin())
    out = []
    for name in chosen:
        days = shown[shown[ID] == name].sort_values(DS)
        mine = made.frame[(made.frame[ID] == name) & (made.frame[CUTOFF] == cutoff)]
        bands = {}
        for label, column in SHOWN.items():
            lo, hi = level_columns(column, LEVEL)
            bands[label] = (
                mine[[DS, column, lo, hi]]
                .rename(columns={column: "mean", lo: "lo", hi: "hi"})
                .sort_values(DS)
                .reset_index(drop=True)
            )
        out.append(Example(str(name), days[[DS, Y, CENSORED, DEMAND]], bands))
    return out


def build(
    found: list[World], rows: list[Row], seconds: pd.DataFrame, config: dict, stages: dict
) -> Report:
    """Write the document."""
    real = config["data"] == "m5"
    first = found[-1].panel
    what = f"M5 {config['store']} {config['department']}" if real else "synthetic worlds"
    report = Report(
        "What each treatment of stockouts does to DeepAR",
        f"{what}: {first[ID].nunique():,} series, {config['days']:,} days of history, "
        f"{config['windows']} window(s) of {config['h']} days, "
        f"{format_number(config['rate'], 'share')} of the days out of stock",
    )
    report.facts(_facts(found))
    report.section("Two series")
    for world in found[-1:]:
        _pictures(report, world)
    report.section("Result")
    if not real:
        report.callout(" ".join(verdict(w.name, w.scores.gaps) for w in found), "key")
    else:
        report.callout(real_verdict(found[0].scores), "key")
    _figure(report, found)
    for number, world in enumerate(found):
        report.subsection(world.name[:1].upper() + world.name[1:])
        report.text(order_text(world.scores.gaps, world.scores.scores, world.rows))
        for label, why in world.left_out.items():
            report.callout(f"{label}: could not be trained. {literal(why)}", "warning")
        report.table(
            score_table(world.scores, world.rows),
            f"Scores against true demand, {world.name}; 95 % intervals over series and weeks.",
            name=f"scores_{number}",
            max_rows=15,
            full="scores.csv",
            note="Bias of the mean; WAPE of the median, single days; CRPS in units, from 1,000 paths "
            "(the true distribution's is exact). On demand: trained on demand, as nobody can; the bias less "
            "that of the same kind of model on demand is what stockouts cost, the rest is forecasting.",
        )
        if real:
            report.table(
                real_table(world.scores, world.rows),
                "CRPS on the same days by what is taken for the outcome.",
                name=f"regimes_{number}",
                max_rows=15,
                note="Sales of all days are cut by stockouts, those of in-stock days are chosen by "
                "them: neither is demand.",
            )
        report.table(
            coverage_table(world.scores.gaps),
            f"Share of series-days whose demand the {LEVEL:g} % interval holds, {world.name}.",
            name=f"coverage_{number}",
            max_rows=15,
            note="Own: what the model gives its interval. Counts are discrete, so that the true "
            "distribution's interval holds more than its level. Differences in points; the last "
            "column is on the same resampled days.",
        )
        report.text(decided(world.scores.pairs, world.rows))
    _design(report, found, config)
    report.section("How this was run")
    report.table(
        _times(seconds, rows),
        "Seconds of training and forecasts together, by world; wall time on a machine in use.",
        name="seconds",
        max_rows=15,
        missing="–",
    )
    report.table(
        pd.DataFrame(
            [
                {"stage": k, "seconds": v["seconds"], "peak memory, MB": v["peak_memory_mb"]}
                for k, v in stages.items()
            ]
        ),
        "Time and memory of each stage (the whole process tree).",
        formats={"seconds": ".1f", "peak memory, MB": "integer"},
    )
    report.text(
        "Every score is in [scores.csv](scores.csv), gaps to the truth in [gaps.csv](gaps.csv), all "
        "pairs in [pairs.csv](pairs.csv), configuration and versions in [manifest.json](manifest.json)."
    )
    return report


def _facts(found: list[World]) -> dict[str, object]:
    facts: dict[str, object] = {}
    for world in found:
        gaps = world.scores.gaps.set_index("column")
        for label, column in SHOWN.items():
            row = gaps.loc[column]
            _, treatment = parse_alias(column)
            ends = [format_number(float(row[f"bias_{e}"]), "percent") for e in ("lo", "hi")]
            facts[f"Bias, {treatment}, {world.name}"] = (
                format_number(float(row["bias"]), "percent"),
                f"DeepAR, {label}, against demand; {ends[0]} to {ends[1]}",
            )
    return facts


def _pictures(report: Report, world: World) -> None:
    if not world.examples:
        return
    counts = {}
    for label in SHOWN:
        held = n = 0
        for example in world.examples:
            band = example.bands[label]
            came = example.days.set_index(DS)[DEMAND].reindex(pd.DatetimeIndex(band[DS]))
            values = came.to_numpy(dtype=float)
            held += int(((values >= band["lo"]) & (values <= band["hi"])).sum())
            n += len(values)
        counts[label] = (held, n)
    title = "; ".join(f"{a} of {b} days with {k}" for k, (a, b) in counts.items())
    report.figure(
        treatments_side_by_side(
            world.examples,
            LEVEL,
            f"The {LEVEL:g} % interval holds true demand on {title}",
            f"Stockouts by {world.mechanism}; DeepAR, the same network and training, under two "
            "treatments. Units per day.",
        ),
        "examples",
        "Two series, chosen by rule: among the fifth that sells most, those whose shares of stockout "
        "days before the cutoff are nearest to the median and to the 80th percentile. What two series "
        "show is no score; those are in [@ablation].",
    )


def _figure(report: Report, found: list[World]) -> None:
    frames, marks = [], {"bias": {}, "coverage": {}}  # type: ignore[var-annotated]
    for world in found:
        gaps, scores = world.scores.gaps, world.scores.scores
        keys = gaps[["label", "kind"]].assign(world=world.name)
        for metric in ("bias", "coverage"):
            ends = gaps[[metric, f"{metric}_lo", f"{metric}_hi"]].set_axis(
                ["value", "lo", "hi"], axis=1
            )
            frames.append(keys.assign(metric=metric).join(ends))
        crps = pooled(scores, "crps").reindex(gaps["column"])
        frames.append(
            keys.assign(metric="crps", **{c: crps[c].to_numpy() for c in ("value", "lo", "hi")})
        )
        marks["bias"][world.name] = (0.0, NEAR_BIAS)
        expected = float(gaps["expected"].iloc[0])
        if np.isfinite(expected):
            marks["coverage"][world.name] = (expected, NEAR_COVERAGE)
    table = pd.concat(frames, ignore_index=True)
    ours = table[(table["kind"] == NEURAL) & (table["metric"] == "bias")]
    spread = [format_number(float(f(ours["value"])), "percent") for f in (min, max)]
    explained = "Line: no bias; shaded: near enough, less than 5 %."
    if marks["coverage"]:
        explained = (
            "Lines: no bias, and what the true distribution's interval covers; shaded: near enough, "
            "a bias of less than 5 %, a gap of less than 3 points."
        )
    report.figure(
        ablation(
            table,
            {"bias": "bias against demand, %", "crps": "CRPS, units", "coverage": "coverage, %"},
            f"By treatment, DeepAR's bias against true demand runs from {spread[0]} to {spread[1]}",
            "Against true demand, 95 % intervals over series and weeks. " + explained,
            marks=marks,
        ),
        "ablation",
        "Bias, CRPS and coverage of demand by treatment and world.",
    )


def _design(report: Report, found: list[World], config: dict) -> None:
    report.section("Design and limits")
    lines = [
        "**Raw sales**: a stockout's sales are demand, in the loss and in the history. **Windows "
        "dropped**: the same, trained on windows without a stockout alone. **Loss mask only**: no "
        "loss on stockout days, whose sales are still fed as history, without a flag. **Mask, history "
        "filled**: such days are filled by a demand filter that masks too, with a flag. **Censored**: "
        "they enter the loss as P(demand ≥ sales), history filled by a filter that does the same.",
        "Every model is trained on the days before the first window alone and then only updated. "
        "All rows of DeepAR share size, steps, seed and early stopping; **one training each**, so "
        "that what differs by the weights' seed is not in the intervals.",
        "Intervals resample series and weeks of days together. With few weeks they are rough.",
        "A difference is called decided only where two-way bootstrap and Diebold-Mariano test agree, "
        "adjusted for the number of pairs (Holm).",
    ]
    if config["data"] == "m5":
        lines.append(
            "Demand is M5's sales before stockouts were simulated on them; these sales may have been cut "
            "by stockouts themselves, which nobody knows. There is no true distribution to hold "
            "coverage against."
        )
    else:
        lines.append(
            "The true distribution knows the level at the cutoff, coefficients and dispersion; it does "
            "not know the drift and the shocks of the days ahead. No trained model can reach it."
        )
    counts = ", ".join(
        f"{w.name} {format_number(float(w.panel[CENSORED].mean()), 'share')}" for w in found
    )
    lines.append(f"Days with a stockout, of all days: {counts}.")
    report.text("\n".join(f"- {line}" for line in lines))


def _times(seconds: pd.DataFrame, rows: list[Row]) -> pd.DataFrame:
    names = {r.column: r.label for r in rows}
    oracles = {r.column for r in rows if r.kind == ORACLE}
    wide = seconds.pivot_table(index="column", columns="world", values="seconds", sort=False)
    wide.insert(0, "model", [names[c] for c in wide.index])
    # Oracles are the same in every world of a seed: they are trained once.
    for column in wide.columns[2:]:
        wide.loc[wide.index.isin(oracles) & (wide[column] < 0.05), column] = np.nan
    return wide.reset_index(drop=True).round(1)
