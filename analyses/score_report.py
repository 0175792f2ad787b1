"""The report of `score_study.py`: which score may be believed where, and what trained models show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from score_cells import ALONG, CONTENDERS, CURVE, TRUTH
from score_sections import trained_models
from score_verdicts import VERDICTS
from score_words import REGIMES, ahead, headline, share_text, summary, words
from score_worlds import SETTINGS

from civstats.plots.score_study import mean_curve, truth_first
from civstats.report import Report, format_number

if TYPE_CHECKING:
    from score_models import Trained


def build(
    cells: pd.DataFrame,
    pairs: pd.DataFrame,
    values: pd.DataFrame,
    trained: Trained | None,
    config: dict,
    stages: dict,
) -> Report:
    """Write the document."""
    report = Report(
        "Does each score rank the truth first?",
        f"{config['replications']} worlds of each setting, {config['series']} series, "
        f"{config['days']} scored days",
    )
    report.facts(_facts(cells, pairs))
    report.section("Which score may be believed")
    _belief(report, cells)
    _question(report, values, config)
    _one_day(report, pairs, config)
    _farther(report, pairs, config)
    if trained is not None:
        trained_models(report, trained, config)
    _limits(report, config)
    report.section("How this was run")
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
        "Every share is in [cells.csv](cells.csv), every distortion in "
        "[contenders.csv](contenders.csv), every score of every replication in "
        "[replications.parquet](replications.parquet), configuration and versions in "
        "[manifest.json](manifest.json)."
    )
    return report


def _of(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    keep = np.ones(len(frame), dtype=bool)
    for column, value in wanted.items():
        keep &= (frame[column] == value).to_numpy()
    return frame[keep]


def _percent(row: pd.Series) -> str:
    low, high = (format_number(float(row[c]), "share") for c in ("lo", "hi"))
    return f"{low.removesuffix(' %')} to {high}"


def _facts(cells: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, object]:
    facts: dict[str, object] = {}
    for metric in ALONG:
        part = _of(cells, setting="inventory", h=1, regime="censored", metric=metric)
        for _, row in part.iterrows():
            facts[f"Truth first, {words(metric)}"] = (
                share_text(float(row["share"])),
                f"inventory, 1 day ahead; 95 % interval {_percent(row)}",
            )
    wrong = _of(pairs, setting="inventory", h=1, regime="in_stock", metric="rmse")
    wrong = wrong[wrong["contender"].isin(CONTENDERS) & ~wrong["blind"]]
    for _, row in wrong.nsmallest(1, "share").iterrows():
        facts["Truth ahead, in-stock RMSE"] = (
            share_text(float(row["share"])),
            f"of its {row['contender']}; inventory, 1 day ahead; {_percent(row)}",
        )
    far = pairs[(pairs["h"] > 1) & (pairs["metric"] == "localised_crps")]
    far = far[far["contender"].isin(CONTENDERS)]
    for _, row in far.nsmallest(1, "z").iterrows():
        facts["Truth ahead, localised CRPS"] = (
            share_text(float(row["share"])),
            f"of its {row['contender']}; {row['setting']}, {ahead(row['h'])}; {_percent(row)}",
        )
    return facts


def _belief(report: Report, cells: pd.DataFrame) -> None:
    report.callout(headline(cells) + ".", "key")
    report.table(
        summary(cells),
        "Scores that may be believed by someone who does not know demand.",
        name="summary",
        labels={
            "ahead": "forecast",
            "believe": "may be believed",
            "mean": "of the mean alone",
            "more": "with more data",
            "misled": "scores that mislead",
        },
        note="May be believed: the truth beats each distortion that the score can tell from it, taken "
        "one at a time, in 95 % of the replications or more. Of the mean alone: the score does not see "
        "the dispersion. Beyond one day, scores that take stockouts as bounds are good where stock "
        "happens to follow demand little, which nobody knows of a real shop: under slow orders they "
        "mislead, and the package prints none of them unless told that stock is independent. All "
        "scores in the next table.",
    )
    table = cells.assign(
        column=[f"{s}, {ahead(h)}" for s, h in zip(cells["setting"], cells["h"], strict=True)],
        text=[
            f"{v}{', mean only' if m else ''} ({share_text(x)})"
            for v, m, x in zip(cells["verdict"], cells["mean_only"], cells["share"], strict=True)
        ],
        days=[REGIMES[r] for r in cells["regime"]],
        score=[words(m) for m in cells["metric"]],
    )
    wide = table.pivot_table(
        index=["days", "score"], columns="column", values="text", aggfunc="first", sort=False
    ).reset_index()
    report.table(
        wide,
        "May the score be believed? In brackets, the share of replications in which the truth "
        "comes first: beats all distortions at once, which is less often than each of them.",
        name="belief",
        max_rows=40,
        note=" ".join(f"{k}: {v}." for k, v in VERDICTS.items())
        + " Mean only: the score does not change with the dispersion, and ranks the mean. WAPE of the "
        "mean misleads on true demand too: absolute error rewards the median.",
    )
    report.figure(
        truth_first(cells, headline(cells)),
        "truth_first",
        "How often the truth comes first, by score, setting and days ahead.",
    )


def _question(report: Report, values: pd.DataFrame, config: dict) -> None:
    report.section("Question and design")
    short = values.groupby("setting", sort=False)["short"].mean()
    report.text(
        "A score is worth its name if the true distribution gets the best one. Under stockouts most "
        "scores fail that. Here demand is simulated, so that its distribution at every cutoff is "
        "known; it competes with itself with the mean x 0.85 and x 1.15 and the dispersion x 0.5 and "
        "x 2, under every score that the package offers.\n\n"
        + "\n".join(
            f"- **{name}** ({format_number(float(short[name]), 'share')} of the scored days): "
            f"{SETTINGS[name].text}."
            for name in config["settings"]
        )
        + "\n\n**What the truth knows.** Demand of a day is negative binomial; its mean drifts, and "
        "the series of a store share a shock every day. A forecast `h` days ahead knows all of the "
        "world but the drift of these `h` days and the day's shock: it is a negative binomial mixed "
        "over both. The same days, with the same sales and stock, are forecast at every horizon, "
        "each from its own cutoff: only what is known of them changes.\n\n"
        "**Stock.** One day ahead, stock depends on past sales and calendar alone, and is independent "
        "of the day's demand given what the truth knows (but for one number: the policy's safety "
        "factor, or the outages' frequency, is set so that the panel as a whole reaches its "
        "rate). Under random and promotion outages the other days have no limit; the study "
        "gives them a stock that never ends, which a real panel would have to record."
    )


def _one_day(report: Report, pairs: pd.DataFrame, config: dict) -> None:
    settings = [s for s in ("inventory", *config["settings"]) if s in config["settings"]][:1]
    shown = [("censored", m) for m in ALONG] + [("censored", "censored_pinball")]
    shown += [("demand", "crps"), ("all_days", "crps"), ("in_stock", "crps"), ("in_stock", "rmse")]
    h = min(config["horizons"])
    report.section(f"{ahead(h).capitalize()}: {settings[0]}")
    _duels(report, pairs, [(settings[0], h)], shown, "near")
    report.text(
        "In-stock days are days of low demand, so that a forecast that is too low looks right on "
        "them; sales of all days are cut, and a forecast of demand looks too high. The scores with "
        "a bound take a stockout day for what it says."
    )


def _duels(
    report: Report,
    pairs: pd.DataFrame,
    where: list[tuple[str, int]],
    shown: list[tuple[str, str]],
    name: str,
) -> None:
    rivals = [c for c in CONTENDERS if c != TRUTH]
    rows = []
    for setting, h in where:
        for regime, metric in shown:
            part = _of(pairs, setting=setting, h=h, regime=regime, metric=metric)
            part = part.set_index("contender")
            if part.empty:
                continue
            row = {"setting": setting, "days ahead": h}
            row |= {"score": words(metric), "days": REGIMES[regime]}
            for rival in rivals:
                one = part.loc[[rival]].iloc[0]
                row[rival] = (
                    "–" if one["blind"] else f"{share_text(one['share'])} ({_percent(one)})"
                )
            rows.append(row)
    table = pd.DataFrame(rows)
    if len(where) == 1:
        table = table.drop(columns=["setting", "days ahead"])
    report.table(
        table,
        "Share of replications in which the truth beats each distortion, with Wilson's 95 % "
        "intervals.",
        name=f"duels_{name}",
        max_rows=40,
        note="–: the score does not see the difference.",
        full="contenders.csv",
    )


def _farther(report: Report, pairs: pd.DataFrame, config: dict) -> None:
    far = [h for h in config["horizons"] if h > 1]
    settings = [s for s in ("inventory", "slow orders") if s in config["settings"]]
    if not far or not settings:
        return
    report.section("Farther ahead: where scores with a bound stop being proper")
    report.text(
        "Beyond one day stock follows demand after the cutoff. That alone does no harm: if demand of "
        "different days is independent given what is known at the cutoff, stock that follows the "
        "days before says nothing of the day itself. The harm comes from what the days between "
        "**share** and nobody knows yet, here the drift of the level. Where it goes up, the shelf is "
        "emptied before the day comes, and the day says nothing; where it goes down, the day is "
        "seen. The days that are seen are those of low demand, and a forecast that is too low fits "
        "them better. It takes a level that moves within the horizon and a stock that lasts as "
        "long: with demand that drifts slowly and orders every other day hardly anything is left of "
        "it; with fast drift and slow orders the truth loses. The control is the same days one day "
        "ahead."
    )
    curve = pairs[
        pairs["setting"].isin(settings)
        & (pairs["regime"] == "censored")
        & pairs["contender"].str.startswith("mean")
        & pairs["metric"].isin(ALONG)
    ]
    factor = curve["contender"].str.removeprefix("mean x ").astype(float)
    error = (curve["excess"] / curve["z"]).abs().fillna(0.0)
    curve = curve.assign(factor=factor, error=error)
    best = curve.loc[curve[curve["h"] == max(far)].groupby("metric")["excess"].idxmin()]
    lost = best[best["excess"] < -1.96 * best["error"]]
    title = "Far ahead, no factor on the mean does better than the truth"
    if len(lost):
        factors = " and ".join(sorted({f"{f:g}" for f in lost["factor"]}))
        where = " and ".join(dict.fromkeys(lost["setting"]))
        title = f"Under {where}, {ahead(max(far))}, the truth loses to its own mean x {factors}"
        near = curve[curve["h"] == 1]
        if len(near) and not (near["excess"] < -1.96 * near["error"]).any():
            title += "; one day ahead, on the same days, it does not"
    report.figure(
        mean_curve(curve, title, metrics=ALONG),
        "mean_curve",
        f"Average score by the factor on the truth's mean; factors {min(CURVE):g} to 1.15.",
    )
    shown = [("censored", m) for m in (*ALONG, "censored_pinball")] + [("demand", "crps")]
    _duels(report, pairs, [(s, h) for s in settings for h in config["horizons"]], shown, "far")


def _limits(report: Report, config: dict) -> None:
    report.section("Limits")
    lines = [
        "The truth knows the level at the cutoff, the coefficients and the dispersion, which no "
        "trained model does. A distortion of 15 % in the mean is large; a score that tells it in a "
        "panel of this size may miss one of 5 %.",
        "“Believed” is a matter of the size of the panel too: "
        f"{config['series']} series and {config['days']} days. The average over replications, on "
        "which “no” rests, is not.",
        "|bias| is held against zero, as a reader does who knows no better. Held against the bias "
        "that a perfect forecast shows on the same days, it would be right by definition.",
        "Coverage and width are not in the table: neither ranks forecasts. Pinball ranks as "
        "Winkler does. MASE and RMSSE are WAPE and RMSE with a weight per series, and are left out.",
        "Every scored day has its own cutoff, so that the WAPE of the mean is one of single days, not "
        "of totals over a window.",
        "That scores with a bound do no harm 28 days ahead in one setting is a fact of that setting. "
        "Nobody knows from sales alone how far stock follows demand, so that the package prints "
        "none of them beyond one day unless told that stock is independent.",
        "Random and promotion outages are scored with a known stock on every day. Where in-stock days "
        "have none on record, the localised CRPS and the censored pinball cannot be had.",
        "Stock enters the worlds through the package's own simulator: a shop that orders by what it "
        "knows beyond past sales and the calendar would make stock depend on demand one day ahead.",
    ]
    report.text("\n".join(f"- {line}" for line in lines))
