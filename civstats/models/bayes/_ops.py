"""The kernels as operators of pytensor, each with its slopes, for numba and for plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch import basic as numba_basic
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from civstats.models.bayes import _kernels as kernels
from civstats.models.bayes import _walk_kernels as walks

Array = np.ndarray


def count_slopes(
    level: Array, beta: Array, alpha: Array, zero: Array,
    dated: Array, dated_at: Array, own_at: Array, above: Array, constant: Array,
    node: Array, date: Array, group: Array, own: Array, share: Array, days: Array, value: Array,
    b_node: Array, b_date: Array, b_group: Array, b_own: Array, b_days: Array, b_value: Array,
) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
    """Return the log-likelihood and its slopes in level, beta, alpha and zero."""
    d_level, d_beta = np.empty(level.size), np.empty(beta.shape)
    d_alpha, d_zero = np.empty(alpha.size), np.empty(zero.size)
    total = kernels.count_days(
        level, beta, alpha, zero, dated, dated_at, own_at, above, node, date, group, own, share,
        days, value, b_node, b_date, b_group, b_own, b_days, b_value, d_level, d_beta, d_alpha, d_zero,
    )  # fmt: skip
    return np.asarray(total + constant.item()), d_level, d_beta, d_alpha, d_zero


def normal_slopes(
    level: Array, beta: Array, noise: Array, dated: Array, dated_at: Array, own_at: Array,
    node: Array, date: Array, group: Array, own: Array, share: Array, value: Array, is_bound: Array,
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Return the log-likelihood and its slopes in level, beta and noise."""
    d_level, d_beta, d_noise = np.empty(level.size), np.empty(beta.shape), np.empty(noise.size)
    total = kernels.normal_days(
        level, beta, noise, dated, dated_at, own_at, node, date, group, own, share, value, is_bound,
        d_level, d_beta, d_noise,
    )  # fmt: skip
    return np.asarray(total), d_level, d_beta, d_noise


def walk(
    raw: Array, base: Array, drift: Array, spread: Array, beta: Array, pseudo: Array, info: Array,
    weekly: Array, hinted: Array, slow: Array, department: Array, starts: Array, descent: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the levels that `raw` stands for, and their log density over that of `raw`."""
    n = raw.size
    level, pivot, middle = np.empty(n), np.empty(n), np.empty(n)
    steps, spreads = drift[department], np.full(base.size, spread.item())
    moved = walks.shifted(pseudo, beta, slow, hinted, weekly, department, starts)
    log_det = walks.walk_forward(
        raw, base, steps, spreads, moved, info, starts, level, pivot, middle
    )
    density = walks.walk_density(raw, base, steps, spreads, starts, level, log_det, descent.item())
    return level, np.asarray(density)


def walk_slopes(
    raw: Array, base: Array, drift: Array, spread: Array, beta: Array, pseudo: Array, info: Array,
    weekly: Array, hinted: Array, slow: Array, department: Array, starts: Array, descent: Array,
    level: Array, g_level: Array, g_density: Array,
) -> tuple[Array, Array, Array, Array, Array]:  # fmt: skip
    """Pull slopes in the levels and the density back to raw, base, drift, spread and beta."""
    n, m = raw.size, base.size
    d_raw, d_pseudo = np.empty(n), np.empty(n)
    d_base, d_steps, d_spreads = np.empty(m), np.empty(m), np.empty(m)
    steps, spreads = drift[department], np.full(m, spread.item())
    weight, pulled = g_density.item(), g_level.copy()
    more_raw, more_base = np.zeros(n), np.zeros(m)
    more_steps, more_spreads = np.zeros(m), np.zeros(m)
    walks.density_slopes(
        raw, base, steps, spreads, starts, level, descent.item(), weight, pulled,
        more_raw, more_base, more_steps, more_spreads,
    )  # fmt: skip
    moved = walks.shifted(pseudo, beta, slow, hinted, weekly, department, starts)
    walks.walk_adjoint(
        raw, base, steps, spreads, moved, info, starts, pulled, weight,
        d_raw, d_base, d_steps, d_spreads, d_pseudo,
    )  # fmt: skip
    d_drift, d_beta = np.zeros(drift.size), np.zeros(beta.shape)
    total = 0.0
    for s in range(m):
        g = department[s]
        d_drift[g] += d_steps[s] + more_steps[s]
        total += d_spreads[s] + more_spreads[s]
        for j in range(slow.size):
            moves = 0.0
            for w in range(starts[s], starts[s + 1]):
                moves += weekly[w, j] * d_pseudo[w]
            d_beta[g, slow[j]] -= moves
    return d_raw + more_raw, d_base + more_base, d_drift, np.asarray(total), d_beta


def inform(raw: Array, mean: Array, sd: Array, hint: Array, strength: Array) -> tuple[Array, Array]:
    """Return effects made from standard normal `raw`, and their log density over that of `raw`."""
    value, change = np.empty(raw.size), 0.0
    for i in range(raw.size):
        known = 1.0 / (sd[i] * sd[i])
        precision = known + strength[i]
        centre = (mean[i] * known + strength[i] * hint[i]) / precision
        value[i] = centre + raw[i] / np.sqrt(precision)
        gap = value[i] - mean[i]
        change += 0.5 * (raw[i] * raw[i] - gap * gap * known - np.log(precision / known))
    return value, np.asarray(change)


def inform_slopes(
    raw: Array,
    mean: Array,
    sd: Array,
    hint: Array,
    strength: Array,
    g_value: Array,
    g_change: Array,
) -> tuple[Array, Array, Array]:
    """Pull slopes back to raw, mean and sd."""
    d_raw, d_mean, d_sd = np.empty(raw.size), np.empty(raw.size), np.empty(raw.size)
    weight = g_change.item()
    for i in range(raw.size):
        known = 1.0 / (sd[i] * sd[i])
        precision = known + strength[i]
        root = np.sqrt(precision)
        centre = (mean[i] * known + strength[i] * hint[i]) / precision
        gap = centre + raw[i] / root - mean[i]
        a = g_value[i] - weight * gap * known
        d_raw[i] = a / root + weight * raw[i]
        d_mean[i] = a * known / precision + weight * gap * known
        d_precision = -(a * (centre + 0.5 * raw[i] / root) + 0.5 * weight) / precision
        d_known = a * mean[i] / precision + d_precision
        d_sd[i] = (weight * (gap * gap * known - 1.0) - 2.0 * known * d_known) / sd[i]
    return d_raw, d_mean, d_sd


class _KernelOp(Op):
    """An operator that is one function of numpy arrays; `made` is the types of its outputs."""

    __props__ = ()
    function: Any
    kinds: str
    """Of the inputs: s, v, m are numbers (scalar, vector, matrix), i positions."""
    made: str
    slopes: int
    """How many inputs have slopes: they come first, and their slopes are the last outputs."""
    like: tuple[int | None, ...]
    """Which input each output has the shape of; None is a number."""

    def make_node(self, *inputs: Any) -> Apply:
        tensors = [
            pt.as_tensor_variable(x).astype("int64" if k == "i" else "float64")
            for x, k in zip(inputs, self.kinds, strict=True)
        ]
        shapes = {"s": pt.dscalar, "v": pt.dvector, "m": pt.dmatrix}
        return Apply(self, tensors, [shapes[k]() for k in self.made])

    def perform(self, node: Apply, inputs: Sequence[Any], outputs: Any) -> None:
        found = type(self).function(*(np.ascontiguousarray(x).reshape(np.shape(x)) for x in inputs))
        for place, value in zip(outputs, found, strict=True):
            place[0] = np.asarray(value)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[i < self.slopes] + [False] * (len(self.made) - 1) for i in range(len(self.kinds))]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Any]:
        found: list[Any] = [gradients[0] * d for d in outputs[1:]]
        return found + [disconnected_type() for _ in inputs[self.slopes :]]


def applied(op: Op, *inputs: Any) -> list[Any]:
    """Return all outputs of an operator."""
    return list(op.make_node(*inputs).outputs)


class CountDays(_KernelOp):
    """Censored log-likelihood of days of counts, from level, coefficients, alpha and zero."""

    function = staticmethod(count_slopes)
    kinds = "vmvv" + "miims" + "iiimvvv" + "iiimvv"
    made, slopes, like = "svmvv", 4, (None, 0, 1, 2, 3)


class NormalDays(_KernelOp):
    """Censored log-likelihood of days of fractional sales, from level, coefficients and noise."""

    function = staticmethod(normal_slopes)
    kinds = "vmv" + "mii" + "iiimvvi"
    made, slopes, like = "svmv", 3, (None, 0, 1, 2)


class Walk(_KernelOp):
    """Levels of random walks given pseudo-data, from standard normal numbers."""

    function = staticmethod(walk)
    kinds = "vvvsm" + "vvmmiii" + "s"
    made, slopes, like = "vs", 5, (0, None)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[i < 5, i < 5] for i in range(13)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Any]:
        g_level, g_density = _connected(gradients, outputs)
        found = applied(_WalkSlopes(), *inputs, outputs[0], g_level, g_density)
        return [*found, *(disconnected_type() for _ in range(8))]


class _WalkSlopes(_KernelOp):
    """The adjoint of :class:`Walk`."""

    function = staticmethod(walk_slopes)
    kinds = Walk.kinds + "vvs"
    made, slopes, like = "vvvsm", 0, (0, 1, 2, 3, 4)


class Inform(_KernelOp):
    """Normal effects laid out by how much is known of them."""

    function = staticmethod(inform)
    kinds = "vvvvv"
    made, slopes, like = "vs", 3, (0, None)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[i < 3, i < 3] for i in range(5)]

    def L_op(
        self, inputs: Sequence[Any], outputs: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Any]:
        g_value, g_change = _connected(gradients, outputs)
        found = applied(_InformSlopes(), *inputs, g_value, g_change)
        return [*found, disconnected_type(), disconnected_type()]


class _InformSlopes(_KernelOp):
    """The adjoint of :class:`Inform`."""

    function = staticmethod(inform_slopes)
    kinds = Inform.kinds + "vs"
    made, slopes, like = "vvv", 0, (0, 0, 0)


def _connected(gradients: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    return [
        pt.zeros_like(o) if isinstance(g.type, DisconnectedType) else g
        for g, o in zip(gradients, outputs, strict=True)
    ]


def _numba(op: _KernelOp, node: Any = None, **_: Any) -> Any:
    return numba_basic.numba_njit(type(op).function), kernels.VERSION


for _op in (CountDays, NormalDays, Walk, _WalkSlopes, Inform, _InformSlopes):
    register_funcify_default_op_cache_key(_op)(_numba)
