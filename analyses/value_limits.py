"""What the report of `value_of_instock.py` does not say, and what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_models import SHORT, shortened

from civstats.report import Report
from civstats.schema import IN_STOCK_SHARE, parse_alias

if TYPE_CHECKING:
    from value_pricing import Results


def limits(report: Report, results: Results, config: dict, simulated: bool) -> None:
    """Write the section."""
    report.section("Limits")
    treatment = parse_alias(results.chosen)[1]
    points = [
        "The share of lost units that customers buy after all is one number for all series, drawn once a world; "
        "items differ. Net value assumes that what they buy instead earns the same margin.",
        _outages(results),
        "Prices are taken as they are; nothing here is a price elasticity.",
        f"The horizon that is priced is the last window of the backtest ({config['h']} days after "
        f"{results.backtest.cutoffs[-1]:%d %b %Y}), so that it can be checked.",
    ]
    if treatment != "censor":
        points.insert(
            0,
            f"Demand comes from a forecast under `{treatment}`. Where stockouts are caused by high "
            "demand it is too low, and so is the value.",
        )
    if config["left_out"]:
        points.append(
            f"Sales are not whole numbers, so {', '.join(config['left_out'])}, whose likelihood is one of "
            "counts, did not run."
        )
    if config["series"] and config["data"] != "synthetic":
        points.append(
            "The series are the best sellers of the whole history, the days that are forecast included."
        )
    if config["data"] == "m5":
        points.append(
            "M5 holds items that sell nothing for months and come back; a forecast from past sales "
            "cannot see that coming, and neither can the ranking."
        )
    if simulated:
        points.append(
            "Stockouts are simulated: the mechanism decides how far sales mislead. Real stockouts mix "
            "several."
        )
    if IN_STOCK_SHARE in results.panel.columns:
        points.append(
            "Outages by the clock lose a share of the day; a model under `mask` drops the day whole."
        )
    if shortened(config):
        points.append(_short())
    report.text("\n".join(f"- {p}" for p in points))


def _outages(results: Results) -> str:
    if results.outages.base == "shelf":
        return (
            "Shelves are walked ahead by an order-up-to rule that was read from past deliveries. Plans that the record "
            "does not show (an assortment that ends, a supplier who fails) are not in it."
        )
    return (
        "Stockout probabilities are extrapolated from each series' past and follow its expected demand; "
        "they know no replenishment plans."
    )


def _short() -> str:
    """What the embedded panel's run saves on the slow families."""
    deep, bayes = SHORT["DeepAR"], SHORT["BayesDemand"]
    return (
        f"On the embedded panel the slow families are shortened so that the run takes minutes: DeepAR trains for at most "
        f"{deep['max_steps']} steps of {deep['batch_size']} windows with {deep['hidden_size']} hidden units; the PyMC "
        f"hierarchy learns from the last {bayes['last_days']} days, without named events and season of the year, draws "
        f"2 x {bayes['draws']} after {bayes['tune']} of tuning, and runs under `censor` alone. Their scores are those of that "
        "effort; named in `--models`, they run at full size."
    )
