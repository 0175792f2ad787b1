"""Posterior review: gates, predictive checks through the censoring, LOO, sensitivity, calibration."""

from civstats.diagnostics._advice import ADVICE
from civstats.diagnostics._draws import scalars
from civstats.diagnostics._statistics import STATISTICS
from civstats.diagnostics.gates import GateError, Limits, check_gates, gates, passed
from civstats.diagnostics.loo import Loo, psis_loo
from civstats.diagnostics.parameters import parameter_table
from civstats.diagnostics.pit import posterior_pit
from civstats.diagnostics.predictive import predictive_check, replicated_sales
from civstats.diagnostics.rank_ecdf import ecdf_band, rank_table, uniform_p_value
from civstats.diagnostics.sampler import sampler_table
from civstats.diagnostics.sbc import sbc_ranks, thin
from civstats.diagnostics.sensitivity import power_scale_weights, prior_sensitivity

__all__ = [
    "ADVICE",
    "STATISTICS",
    "GateError",
    "Limits",
    "Loo",
    "check_gates",
    "ecdf_band",
    "gates",
    "parameter_table",
    "passed",
    "posterior_pit",
    "power_scale_weights",
    "predictive_check",
    "prior_sensitivity",
    "psis_loo",
    "rank_table",
    "replicated_sales",
    "sampler_table",
    "sbc_ranks",
    "scalars",
    "thin",
    "uniform_p_value",
]
