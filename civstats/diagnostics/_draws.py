"""Draws of a posterior as plain arrays with readable names, a block of scalars at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from civstats.schema import CivstatsError

if TYPE_CHECKING:
    import xarray as xr

CHAIN, DRAW = "chain", "draw"
_BLOCK = 2_000
"""Scalars at a time: 4 chains of 1,000 draws take 64 MB."""


@dataclass(frozen=True)
class Draws:
    """Some scalars of one variable.

    Attributes
    ----------
    variable : str
    names : list of str
        ``level[a, 2024-01-01]``; the bare variable where it is a scalar.
    array : numpy.ndarray, shape (chain, draw, len(names))
    """

    variable: str
    names: list[str]
    array: np.ndarray


def posterior_of(data: Any, group: str = "posterior") -> xr.Dataset:
    """Return a group as a dataset whose variables all have chains and draws.

    Parameters
    ----------
    data : arviz.InferenceData, xarray.Dataset or mapping
        A mapping holds arrays (chain, draw, ...).
    group : str

    Raises
    ------
    CivstatsError
        If the group is absent or empty, or a variable has no chains or draws.
    """
    import xarray as xr

    if isinstance(data, xr.Dataset):
        found = data
    elif hasattr(data, "groups"):
        if group not in data.groups():
            have = ", ".join(data.groups()) or "none"
            raise CivstatsError(f"the draws have no group {group!r}; they have {have}")
        found = data[group]
    else:
        import arviz as az

        found = az.convert_to_dataset(data)
    if not found.data_vars:
        raise CivstatsError(f"group {group!r} holds no variable: nothing was drawn")
    flat = [str(n) for n, x in found.data_vars.items() if not {CHAIN, DRAW} <= set(x.dims)]
    if flat:
        raise CivstatsError(
            f"{len(flat)} variable(s) of {group!r} lack the dims chain and draw, first {flat[0]}"
        )
    if not all(found.sizes[d] for d in (CHAIN, DRAW)):
        raise CivstatsError(f"group {group!r} holds no draw")
    return found


def blocks(dataset: xr.Dataset, var_names: Sequence[str] | None = None) -> Iterator[Draws]:
    """Yield all scalars of a dataset, in order, in blocks of one variable.

    Raises
    ------
    CivstatsError
        If a variable asked for is not there.
    """
    names = [str(n) for n in dataset.data_vars] if var_names is None else list(var_names)
    unknown = [n for n in names if n not in dataset.data_vars]
    if unknown:
        raise CivstatsError(
            f"no variable {', '.join(unknown)} was drawn; there are "
            f"{', '.join(str(n) for n in dataset.data_vars)}"
        )
    for name in names:
        array = dataset[name].transpose(CHAIN, DRAW, ...)
        flat = array.to_numpy().reshape(*array.shape[:2], -1)
        labels = scalar_names(array, name)
        for first in range(0, len(labels), _BLOCK):
            part = flat[:, :, first : first + _BLOCK].astype(np.float64, copy=False)
            yield Draws(name, labels[first : first + _BLOCK], part)


def scalars(data: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the draws of some scalars by the names that `parameter_table` gives them.

    Parameters
    ----------
    data : arviz.InferenceData, xarray.Dataset or mapping of arrays (chain, draw, ...)
    names : sequence of str

    Returns
    -------
    dict of str to numpy.ndarray, shape (chain, draw)

    Raises
    ------
    CivstatsError
        If a name is not there.

    Examples
    --------
    >>> import numpy as np
    >>> scalars({"mu": np.zeros((2, 5, 3))}, ["mu[1]"])["mu[1]"].shape
    (2, 5)
    """
    wanted, found = set(names), {}
    for part in blocks(posterior_of(data)):
        for k in np.flatnonzero([n in wanted for n in part.names]):
            found[part.names[k]] = part.array[:, :, k]
    missing = [n for n in names if n not in found]
    if missing:
        raise CivstatsError(f"no scalar {missing[0]!r} was drawn")
    return {n: found[n] for n in names}


def scalar_names(array: xr.DataArray, name: str) -> list[str]:
    """Name every scalar of a variable by its coordinates."""
    rest = [d for d in array.dims if d not in (CHAIN, DRAW)]
    if not rest:
        return [name]
    parts = [
        [_text(v) for v in array[d].to_numpy()] if d in array.coords else range(array.sizes[d])
        for d in rest
    ]
    return [f"{name}[{', '.join(map(str, at))}]" for at in product(*parts)]


def _text(value: object) -> str:
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[D]"))
    return str(value)
