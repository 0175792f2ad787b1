"""Exponential and logarithm in plain arithmetic, so that a loop over a row becomes vector code.

A call of the system's libm stops the compiler from vectorising a loop; these do not branch and do
not call. Errors stay within 2 units in the last place on the ranges named.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Fused multiply-add may sharpen a result but never reorders one: nan and inf keep their meaning.
jit: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})

_MAGIC = 6755399441055744.0  # 1.5 * 2^52: adding it leaves the rounded integer in the low bits
_LN2_HI = 6.93147180369123816490e-01
_LN2_LO = 1.90821492927058770002e-10
_LOG2_E = 1.44269504088896338700
_EXP_MIN = -708.0


@intrinsic
def _bits(_: Any, x: Any) -> Any:
    """Read the bits of a float64 as an int64."""

    def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(x), code


@intrinsic
def _from_bits(_: Any, i: Any) -> Any:
    """Read the bits of an int64 as a float64."""

    def code(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(i), code


@jit
def exp(x: float) -> float:
    """Return exp(x) for x <= 708; 0 below -708."""
    clamped = max(x, _EXP_MIN)
    shifted = clamped * _LOG2_E + _MAGIC
    k = shifted - _MAGIC
    r = (clamped - k * _LN2_HI) - k * _LN2_LO
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    value = p * _from_bits((_bits(shifted) << 52) + 4607182418800017408)
    return 0.0 if x < _EXP_MIN else value


@jit
def log(x: float) -> float:
    """Return log(x) for a normal, finite x > 0 (fdlibm's polynomial; Sun Microsystems, 1993)."""
    bits = _bits(x)
    # 0x3fe6a09e667f3bcd is sqrt(1/2): the mantissa ends up in [sqrt(1/2), sqrt(2)).
    k = (bits - 4604544271217802189) >> 52
    f = _from_bits(bits - (k << 52)) - 1.0
    power = _from_bits(k + 4843621399236968448) - _MAGIC
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = z * (
        6.666666666666735130e-01
        + w
        * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * 1.479819860511658591e-01))
    )
    even = w * (
        3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01)
    )
    half = 0.5 * f * f
    return power * _LN2_HI - ((half - (s * (half + odd + even) + power * _LN2_LO)) - f)


@jit
def log1p(z: float) -> float:
    """Return log(1 + z) for 0 <= z < 1e300, accurate for tiny z as well."""
    u = 1.0 + z
    return log(u) + (z - (u - 1.0)) / u
