"""Gates with numbers: what a posterior must pass before anything is said with it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from civstats.diagnostics._advice import ADVICE
from civstats.diagnostics._draws import CHAIN, DRAW, posterior_of
from civstats.diagnostics.parameters import (
    CONSTANT,
    MIN_DRAWS,
    NOT_FINITE,
    OK,
    STUCK,
    parameter_table,
)
from civstats.diagnostics.sampler import MAX_TREE_DEPTH, sampler_table
from civstats.schema import CivstatsError

PASSED, FAILED, UNDEFINED, NOTE = "passed", "failed", "undefined", "note"
_NAMED = 5
"""Parameters that a message names."""


class GateError(CivstatsError):
    """A posterior fails its gates: nothing should be said with it."""


@dataclass(frozen=True)
class Limits:
    """The numbers of the gates.

    Attributes
    ----------
    rhat : float
        R-hat must be below it (Vehtari et al., 2021).
    ess : float
        Bulk and tail ESS must be above it, all chains together.
    divergences : int
        At most so many.
    e_bfmi : float
        E-BFMI of every chain must be above it (Betancourt, 2016).
    """

    rhat: float = 1.01
    ess: float = 400.0
    divergences: int = 0
    e_bfmi: float = 0.3


def gates(
    data: Any,
    *,
    parameters: pd.DataFrame | None = None,
    limits: Limits | None = None,
    var_names: Sequence[str] | None = None,
    max_tree_depth: int = MAX_TREE_DEPTH,
) -> pd.DataFrame:
    """Hold a posterior against its gates, over every parameter that was drawn or computed.

    Parameters
    ----------
    data : arviz.InferenceData
    parameters : pandas.DataFrame, optional
        From `parameter_table`, if it is at hand: it takes a few milliseconds a scalar.
    limits : Limits, optional
    var_names : sequence of str, optional
        Only these variables; the sampler's gates always hold for the whole.
    max_tree_depth : int
        As for `sampler_table`.

    Returns
    -------
    pandas.DataFrame
        One row a gate: ``gate, status, value, limit, failing, checked, worst, parameters, advice``.
        Status: ``passed``; ``failed``; ``undefined``, which does not pass either: it could not be
        checked (R-hat of one chain, statistics that were not kept); ``note``, for what is said
        without being held against the posterior (constant parameters, trees cut short, Monte Carlo
        error). `worst` is the parameter or chain that is farthest off; `parameters` a list of
        all those that fail; `advice` is empty where nothing is to be done.

    Raises
    ------
    CivstatsError
        If there are no draws.

    Examples
    --------
    >>> import arviz as az, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> stats = {"diverging": np.zeros((4, 500), bool), "energy": rng.normal(size=(4, 500))}
    >>> drawn = az.from_dict({"mu": rng.normal(size=(4, 500))}, sample_stats=stats)
    >>> table = gates(drawn)
    >>> set(table["status"]) <= {"passed", "note"}
    True
    """
    limits = Limits() if limits is None else limits
    held = posterior_of(data)
    table = parameter_table(data, var_names) if parameters is None else parameters
    rows = [*_draw_gates(table, held.sizes[CHAIN], held.sizes[DRAW], limits)]
    try:
        stats = sampler_table(data, max_tree_depth=max_tree_depth)
    except CivstatsError:
        stats = pd.DataFrame(columns=["chain", "divergences", "saturated", "e_bfmi", "draws"])
    rows += _sampler_gates(stats, limits)
    rows += _notes(table, stats)
    return pd.DataFrame([vars(row) for row in rows])


def check_gates(found: Any, *, allow: bool = False, **options: Any) -> str:
    """Refuse a posterior that fails its gates, or return the stamp its report must carry.

    Parameters
    ----------
    found : pandas.DataFrame or arviz.InferenceData
        The table of `gates`, or draws to make it from.
    allow : bool
        Go on in spite of failures.
    **options
        For `gates`, with draws.

    Returns
    -------
    str
        The stamp, one paragraph; empty where every gate is passed.

    Raises
    ------
    GateError
        If a gate is not passed and `allow` is False; it names the parameters and the mend.
    """
    table = found if isinstance(found, pd.DataFrame) else gates(found, **options)
    bad = table[table["status"].isin([FAILED, UNDEFINED])]
    if bad.empty:
        return ""
    held = int((table["status"] != NOTE).sum())
    said = "; ".join(_said(row) for _, row in bad.iterrows())
    if not allow:
        first = bad.iloc[0]
        raise GateError(
            f"the posterior does not pass {len(bad)} of {held} gates: {said}. {first['advice']}"
        )
    return (
        f"This posterior does not pass {len(bad)} of {held} gates: {said}. Whatever rests on it may "
        "be wrong, and no check further down makes up for that."
    )


def passed(table: pd.DataFrame) -> bool:
    """Return whether every gate of a table of `gates` is passed."""
    return not table["status"].isin([FAILED, UNDEFINED]).any()


@dataclass(frozen=True)
class _Gate:
    """A row of the table."""

    gate: str
    status: str
    value: float
    limit: str
    failing: int
    checked: int
    worst: str
    parameters: list[str]
    advice: str


def _draw_gates(table: pd.DataFrame, chains: int, draws: int, limits: Limits) -> list[_Gate]:
    """Gates that hold for every scalar."""
    names, status = table["parameter"].to_numpy(), table["status"].to_numpy()
    rows = [_members("finite draws", names[status == NOT_FINITE], len(table))]
    rows += [_members("chains move", names[status == STUCK], len(table))]
    alive = table[np.isin(status, [OK, STUCK])]
    few = chains < 2 or draws < MIN_DRAWS
    for gate, column, limit, sign in (
        ("R-hat", "rhat", limits.rhat, 1),
        ("bulk ESS", "ess_bulk", limits.ess, -1),
        ("tail ESS", "ess_tail", limits.ess, -1),
    ):
        text = f"{'<' if sign > 0 else '>'} {limit:g}"
        values = alive[column].to_numpy(dtype=float)
        if not len(alive) or (few and (sign > 0 or draws < MIN_DRAWS)):
            key = "nothing moved" if not len(alive) else "few draws"
            key = "one chain" if len(alive) and chains < 2 and sign > 0 else key
            rows.append(
                _Gate(gate, UNDEFINED, np.nan, text, len(alive), len(alive), "", [], ADVICE[key])
            )
            continue
        off = ~(sign * values < sign * limit)  # what is NaN does not pass
        worst = int(np.argmax(np.where(np.isnan(values), np.inf, sign * values)))
        bad = alive["parameter"].to_numpy()[off]
        rows.append(
            _Gate(
                gate, FAILED if len(bad) else PASSED, float(values[worst]), text, len(bad),
                len(alive), str(alive["parameter"].iloc[worst]), list(bad),
                ADVICE[gate] if len(bad) else "",
            )
        )  # fmt: skip
    return rows


def _members(gate: str, bad: np.ndarray, checked: int) -> _Gate:
    """Return a gate that no parameter may fail."""
    return _Gate(
        gate, FAILED if len(bad) else PASSED, float(len(bad)), "= 0", len(bad), checked,
        str(bad[0]) if len(bad) else "", list(bad), ADVICE[gate] if len(bad) else "",
    )  # fmt: skip


def _sampler_gates(stats: pd.DataFrame, limits: Limits) -> list[_Gate]:
    """Gates that hold for every chain."""
    out = []
    diverging = stats["divergences"].to_numpy(dtype=float)
    e_bfmi = stats["e_bfmi"].to_numpy(dtype=float)
    chain = [f"chain {c}" for c in stats["chain"]]
    total, off = diverging.sum(), diverging > 0
    for gate, values, value, bad, worst, text in (
        ("divergences", diverging, total, total > limits.divergences, np.argmax, f"<= {limits.divergences}"),
        ("E-BFMI", e_bfmi, np.min(e_bfmi, initial=np.inf), (e_bfmi <= limits.e_bfmi).any(), np.argmin, f"> {limits.e_bfmi:g}"),
    ):  # fmt: skip
        if not len(values) or np.isnan(values).any():
            out.append(
                _Gate(
                    gate, UNDEFINED, np.nan, text, 0, len(values), "", [], ADVICE["no statistics"]
                )
            )
            continue
        mine = off if gate == "divergences" else e_bfmi <= limits.e_bfmi
        where = chain[int(worst(values))]
        out.append(
            _Gate(
                gate, FAILED if bad else PASSED, float(value), text, int(mine.sum()) if bad else 0,
                len(values), where, [c for c, m in zip(chain, mine, strict=True) if m and bad],
                ADVICE[gate] if bad else "",
            )
        )  # fmt: skip
    return out


def _notes(table: pd.DataFrame, stats: pd.DataFrame) -> list[_Gate]:
    """What a reader should know without it being held against the posterior."""
    constant = list(table.loc[table["status"] == CONSTANT, "parameter"])
    ratio = (table["mcse_mean"] / table["sd"]).to_numpy(dtype=float)
    ratio = np.where(np.isnan(ratio), -np.inf, ratio)
    k = int(np.argmax(ratio)) if len(ratio) else 0
    known = len(ratio) and np.isfinite(ratio[k])
    cut, draws = stats["saturated"].to_numpy(dtype=float), stats["draws"].to_numpy(dtype=float)
    share = float(cut.sum() / draws.sum()) if len(cut) and draws.sum() else np.nan
    return [
        _Gate(
            "constant parameters", NOTE, float(len(constant)), "", len(constant), len(table),
            constant[0] if constant else "", constant, ADVICE["constant"] if constant else "",
        ),
        _Gate(
            "Monte Carlo error / sd", NOTE, float(ratio[k]) if known else np.nan, "", 0, len(table),
            str(table["parameter"].iloc[k]) if known else "", [], "",
        ),
        _Gate(
            "trees cut short", NOTE, share, "", int((cut > 0).sum()), len(cut), "", [],
            ADVICE["saturated"] if share > 0 else "",
        ),
    ]  # fmt: skip


def _said(row: pd.Series) -> str:
    """Write a failed gate for a message."""
    if row["status"] == UNDEFINED:
        return f"{row['gate']} is undefined"
    names = row["parameters"]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    value = "" if row["limit"] == "= 0" else f" {row['value']:.4g} ({row['limit']})"
    return f"{row['gate']}{value} fails for {', '.join(names[:_NAMED])}{more}"
