"""Newton's method with a shifted hessian and step halving, for small smooth likelihoods."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def maximise(
    value: Callable[[np.ndarray], float],
    score: Callable[[np.ndarray], np.ndarray],
    hessian: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    maxiter: int = 200,
    tol: float = 1e-12,
) -> np.ndarray:
    """Return a local maximum; the best point seen where the iterations run out.

    A direction in which the likelihood is not concave is turned into an ascent direction by
    reflecting its eigenvalue; a step that does not improve is halved.

    Parameters
    ----------
    value, score, hessian : callable
        Log-likelihood and its derivatives.
    start : numpy.ndarray
        First point; its value must be finite.
    maxiter : int
        Largest number of steps.
    tol : float
        Stop when the predicted gain falls below ``tol * (1 + |value|)``.
    """
    point, best = start, value(start)
    for _ in range(maxiter):
        slope = score(point)
        # Scaling by the diagonal makes the eigenvalues blind to the units of the regressors.
        curve = -hessian(point)
        unit = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(curve)), 1e-300))
        values, vectors = np.linalg.eigh(curve * np.outer(unit, unit))
        values = np.maximum(np.abs(values), 1e-10)
        step = unit * (vectors @ ((vectors.T @ (unit * slope)) / values))
        gain = float(slope @ step)
        if not np.isfinite(gain) or gain <= tol * (1.0 + abs(best)):
            return point + step if np.isfinite(gain) and value(point + step) >= best else point
        size = 1.0
        while size > 1e-10:
            new = value(point + size * step)
            if np.isfinite(new) and new >= best + 1e-4 * size * gain:
                break
            size *= 0.5
        else:
            return point
        point, best = point + size * step, new
    return point
