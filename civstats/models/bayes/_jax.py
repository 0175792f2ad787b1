"""The kernels as functions of JAX, for numpyro: called back on the host, with their own slopes.

Importing this module registers them with pytensor. A callback costs a fraction of a millisecond
beside the kernel, so that the likelihood is the same one, to the last bit, under every sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from pytensor.link.jax.dispatch import jax_funcify
from pytensor.link.numba.dispatch import basic as numba_basic

from civstats.models.bayes._ops import (
    CountDays,
    Inform,
    NormalDays,
    Walk,
    _InformSlopes,
    _KernelOp,
    _WalkSlopes,
)


def _called(op: type[_KernelOp]) -> Callable[..., tuple[Any, ...]]:
    """Return the kernel of an operator as a function of JAX arrays."""
    compiled = numba_basic.numba_njit(op.function)

    def on_the_host(*inputs: Any) -> tuple[np.ndarray, ...]:
        kinds = zip(inputs, op.kinds, strict=True)
        arrays = (
            np.ascontiguousarray(x, dtype=np.int64 if k == "i" else np.float64).reshape(np.shape(x))
            for x, k in kinds
        )
        return tuple(np.asarray(x) for x in compiled(*arrays))

    def call(*inputs: Any) -> tuple[Any, ...]:
        shapes = [() if k is None else np.shape(inputs[k]) for k in op.like]
        made = tuple(jax.ShapeDtypeStruct(shape, np.float64) for shape in shapes)
        return tuple(jax.pure_callback(on_the_host, made, *inputs, vmap_method="sequential"))

    return call


def _with_slopes(
    op: type[_KernelOp],
    kept: Callable[[Sequence[Any], Sequence[Any]], Any],
    slopes: Callable[[Any, Sequence[Any]], Sequence[Any]],
) -> Callable[..., tuple[Any, ...]]:
    """Return an operator whose slopes JAX takes from us: `slopes(kept, gradients)`."""
    plain = _called(op)

    @jax.custom_vjp
    def function(*inputs: Any) -> tuple[Any, ...]:
        return plain(*inputs)

    def forward(*inputs: Any) -> tuple[Any, Any]:
        outputs = plain(*inputs)
        return outputs, kept(inputs, outputs)

    def backward(held: Any, gradients: Sequence[Any]) -> tuple[Any, ...]:
        found = tuple(slopes(held, gradients))
        return found + (None,) * (len(op.kinds) - len(found))

    function.defvjp(forward, backward)
    return function


def _of_outputs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    return tuple(outputs[1:])


def _times(held: Any, gradients: Sequence[Any]) -> Sequence[Any]:
    return [gradients[0] * d for d in held]


def _walk_back(held: Any, gradients: Sequence[Any]) -> Sequence[Any]:
    return _called(_WalkSlopes)(*held, *gradients)


def _inform_back(held: Any, gradients: Sequence[Any]) -> Sequence[Any]:
    return _called(_InformSlopes)(*held, *gradients)


_FUNCTIONS = {
    CountDays: _with_slopes(CountDays, _of_outputs, _times),
    NormalDays: _with_slopes(NormalDays, _of_outputs, _times),
    Walk: _with_slopes(Walk, lambda inputs, outputs: (*inputs, outputs[0]), _walk_back),
    Inform: _with_slopes(Inform, lambda inputs, _: tuple(inputs), _inform_back),
}

for _op, _function in _FUNCTIONS.items():
    jax_funcify.register(_op)(lambda op, node=None, made=_function, **_: made)
