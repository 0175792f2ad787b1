"""The models of `value_of_instock.py`: who runs, and at which size on the embedded panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pandas as pd

from civstats.models.bayes import BayesDemand
from civstats.schema import DS, EVENTS, Forecast, alias, validate_panel

if TYPE_CHECKING:
    from civstats.models import Forecaster

FAMILIES = ("SeasonalNaive", "CES", "LightGBM", "LocalLevel", "DeepAR", "BayesDemand")
"""One or two of each kind: what runs on the embedded panel where nothing is asked for."""
SHORT: dict[str, dict[str, Any]] = {
    # A thread each: on so small a panel two fits side by side take less than one after the other.
    "LightGBM": {"num_threads": 1},
    "LocalLevel": {"n_jobs": 1},
    "DeepAR": {
        "hidden_size": 32,
        "batch_size": 64,
        "max_steps": 400,
        "trajectories": 500,
        "num_threads": 1,
    },
    "BayesDemand": {"harmonics": 0, "draws": 2000, "tune": 500, "last_days": 112},
}
"""Sizes with which the slow families take minutes, not hours, on the embedded panel."""
DRAWN = {"LocalLevel": {"parameter_draws": 20}}
"""A total over series needs what they share to be uncertain in all of them at once."""
ONLY = {"BayesDemand": ("censor",)}
"""Treatments under which a family runs there, where not under all."""


class ReviewedBayes(BayesDemand):
    """The hierarchy with its gates: what each posterior passed stays with its forecast.

    Parameters
    ----------
    last_days : int, optional
        Learn from so many days up to the cutoff, all by default. Named events are then left out:
        of one that came once or never in so short a time nothing can be learnt, and a
        coefficient that is all prior mixes worst.
    **options
        Of :class:`~civstats.models.bayes.BayesDemand`.
    """

    _programs: ClassVar[dict[tuple, Any]] = {}

    def __init__(self, *, last_days: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.last_days = last_days

    def _fit(self, panel: pd.DataFrame) -> None:
        kind = (self.family, self.drift, self.harmonics, self.covariates)
        # One compilation serves all windows that are laid out alike; it takes longer than the draws.
        if kind in ReviewedBayes._programs:
            self._compiled, self._structure, self.model_ = ReviewedBayes._programs[kind]
        super()._fit(self._seen_part(panel))
        ReviewedBayes._programs[kind] = (self._compiled, self._structure, self.model_)

    def _predict(
        self, future: pd.DataFrame, *, level: list[float], n_paths: int, seed: int
    ) -> Forecast:
        from civstats.diagnostics import gates

        found = super()._predict(future, level=level, n_paths=n_paths, seed=seed)
        # Attributes of a frame are compared when frames are joined: plain records can be.
        found.frame.attrs["gates"] = gates(self.idata_).to_dict("records")
        return found

    def _seen_part(self, panel: pd.DataFrame) -> pd.DataFrame:
        if self.last_days is None:
            return panel
        late = panel[DS] > panel[DS].max() - pd.Timedelta(days=self.last_days)
        kept = [c for c in panel.columns if c not in EVENTS]
        return validate_panel(panel.loc[late, kept])


def chosen_names(config: dict) -> list[str]:
    """Return the models asked for: one of each family on the embedded panel, else the quick ones."""
    from civstats.models import registry

    if config["models"] == ["all"]:
        return list(registry())
    if config["models"] is not None:
        return list(config["models"])
    return list(FAMILIES) if config["data"] == "synthetic" else list(registry(cost="fast"))


def shortened(config: dict) -> bool:
    """Say whether slow families run at the embedded panel's size."""
    return config["data"] == "synthetic" and config["models"] is None


def build_one(name: str, treatment: str, config: dict) -> Forecaster:
    """Make a forecaster, with the horizon and the seed where it takes them."""
    import inspect

    from civstats.models import make_forecaster, registry

    options = SHORT.get(name, {}) if shortened(config) else {}
    takes = inspect.signature(registry()[name]).parameters if name in registry() else {}
    given = {k: config[k] for k in ("h", "seed") if k in takes} | DRAWN.get(name, {}) | options
    if name == "BayesDemand":
        return ReviewedBayes(treatment=treatment, **given)
    return make_forecaster(name, treatment=treatment, **given)


def make_models(config: dict) -> list[Forecaster]:
    """Build every model under every treatment asked for; refuse what a model cannot honour."""
    from value_inputs import check_choice

    from civstats.models import registry

    known, built = registry(), []
    for name in chosen_names(config):
        offered = known[name].treatments if name in known else ()
        if shortened(config):
            offered = ONLY.get(name, offered)
        treatments = list(offered) if config["treatment"] == ["all"] else config["treatment"]
        built += [build_one(name, t, config) for t in treatments or ["ignore"]]
    if config["rank_with"] is not None:
        check_choice(
            "--rank-with", config["rank_with"], [alias(m.name, m.treatment) for m in built]
        )
    return built
