"""Whether a maximum of the likelihood exists and is unique: collinearity and separation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import linalg, optimize
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from civstats.models.regression.rows import some
from civstats.schema import CivstatsError

COLLINEAR = 1e-10  # relative: below it the hessian is singular to double precision
EXACT_FIT = 1e-12  # relative: rounding, as against a small but real residual


def _scales(design: np.ndarray) -> np.ndarray:
    """Return column norms, 1 for a column of zeros, immune to overflow."""
    top = np.abs(design).max(axis=0, initial=0.0)
    top = np.where(top > 0, top, 1.0)
    return (
        top * np.maximum(np.sqrt(((design / top) ** 2).sum(axis=0)), 1e-300)
        if (design.shape[0])
        else top
    )


def _clearly_regular(scaled: np.ndarray) -> bool:
    """Return True where even the squared condition number leaves no doubt."""
    if scaled.shape[0] < scaled.shape[1]:
        return False
    return bool(np.linalg.eigvalsh(scaled.T @ scaled)[0] > 1e-6)


def check_collinear(exog: np.ndarray, names: Sequence[str]) -> None:
    """Raise if a column of `exog` is a linear combination of others, and say of which.

    Rank from a QR decomposition with column pivoting (Businger and Golub, 1965) of the columns
    scaled to length 1.

    Raises
    ------
    CivstatsError
        With the columns of up to three dependences.
    """
    n, k = exog.shape
    zero = ~exog.any(axis=0)
    if zero.any():
        raise CivstatsError(
            f"exog has {int(zero.sum())} column(s) that are 0 in all {n} rows used: "
            f"{some(np.asarray(names)[zero])}; drop them, or remove the unused category or the "
            "level whose rows all had missing values"
        )
    scaled = exog / _scales(exog)
    if _clearly_regular(scaled):
        return
    r, order = linalg.qr(scaled, mode="r", pivoting=True)
    rank = int((np.abs(np.diag(r)) > COLLINEAR).sum())
    if rank == k:
        return
    weights = linalg.solve_triangular(r[:rank, :rank], r[:rank, rank:])
    found = []
    for j in range(k - rank):
        others = [names[i] for i in np.sort(order[:rank][np.abs(weights[:, j]) > 1e-6])]
        found.append(f"{names[order[rank + j]]} on {some(others, 6)}")
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    raise CivstatsError(
        f"exog is collinear, {k} columns of rank {rank} over {n} row(s) used: "
        f"{'; '.join(found[:3])}{more} depend linearly; drop a column of each dependence"
        + ("" if n >= k else ", or add rows")
    )


def no_maximum(equal: np.ndarray, above: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """Return a direction in which a log-concave likelihood never falls, if there is one.

    Parameters
    ----------
    equal : numpy.ndarray, shape (n, k)
        Rows z whose likelihood falls unless z'v = 0: exact observations.
    above : numpy.ndarray, shape (m, k)
        Rows whose likelihood falls unless z'v >= 0: one-sided observations.

    Returns
    -------
    (numpy.ndarray, bool) or None
        The direction v, per unit of each column's length, and True where the likelihood rises
        along it; or which columns are left open, and False. None: the maximum is finite and unique, by the argument of
        Albert and Anderson (1984) for logistic regression.
    """
    scale = _scales(np.vstack([equal, above]))
    equal, above = equal / scale, above / scale
    if _clearly_regular(equal):
        return None
    # The triangle has the null space of the tall matrix.
    tall = equal.shape[0] > equal.shape[1]
    short = np.asarray(np.linalg.qr(equal, mode="r")) if tall else equal
    free = linalg.null_space(short, rcond=EXACT_FIT) if short.size else np.eye(equal.shape[1])
    if free.shape[1] == 0:
        return None
    faces = above @ free
    lengths = np.linalg.norm(faces, axis=1)
    faces = faces[lengths > 1e-9] / lengths[lengths > 1e-9, None]
    faces = np.unique(np.round(faces, 9), axis=0)
    if faces.shape[0]:
        best = optimize.linprog(
            -faces.sum(axis=0) / faces.shape[0],
            A_ub=-faces,
            b_ub=np.zeros(faces.shape[0]),
            bounds=(-1.0, 1.0),
            method="highs",
        )
        if best.status == 0 and best.fun is not None and best.fun < -1e-7:
            return free @ np.asarray(best.x), True
    # None rises: any direction left free by all rows is flat.
    flat = linalg.null_space(faces, rcond=1e-9) if faces.shape[0] else np.eye(free.shape[1])
    return (np.abs(free @ flat).max(axis=1), False) if flat.shape[1] else None


def check_maximum(model: Any, warn: bool) -> None:
    """Raise or warn where a model's likelihood has no finite, single maximum.

    Raises
    ------
    CivstatsError
        For collinear columns, rows all censored on one side, columns of which no row says
        anything, and a normal model that fits without residual.
    """
    k, n = model.exog.shape[1], model.endog.size
    names = list(model.exog_names[:k])
    if k:
        check_collinear(model.exog, names)
    for side in ("right", "left"):
        if n and model.kinds()[side].all():
            raise CivstatsError(
                f"all {n} rows are {side}-censored: the likelihood has no maximum, it rises "
                "for ever as the mean moves away; check the flags (True marks a row that is "
                "a bound only) or add exact rows"
            )
    equal, above = model._faces()
    found = no_maximum(equal, above) if equal.shape[1] else None
    if found is None:
        return
    way, rises = found
    if way.size > k and way[-1] > 1e-6:
        if not len(equal):
            raise CivstatsError(
                f"the {n} rows leave the scale open: none is exact, and the censored ones share "
                "their bounds; add exact rows or intervals"
            )
        raise CivstatsError(
            f"the regressors fit all {len(equal)} exact row(s) of {n} without residual: the "
            "likelihood has no maximum, it rises for ever as the scale goes to 0; drop "
            "regressors or add exact rows"
        )
    signs = [
        f"{c} -> {'-+'[int(w > 0)]}inf" for c, w in zip(names, way, strict=False) if abs(w) > 1e-6
    ]
    if not rises:
        raise CivstatsError(
            f"no row of {n} says anything of {some([s.split(' -> ')[0] for s in signs], 6)}: "
            "such rows are censored at the lowest value or have no exposure; drop the "
            "columns or levels"
        )
    if warn:
        warnings.warn(
            f"the likelihood has no finite maximum, it rises for ever as {some(signs, 6)}: "
            "all rows that tell them apart are censored or zero; their estimates and errors "
            "mean nothing, so merge or drop these columns or levels",
            ConvergenceWarning,
            stacklevel=3,
        )
