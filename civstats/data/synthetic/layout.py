"""Which items, stores and departments the synthetic world has, and which series they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CATEGORIES = ("FOODS", "HOBBIES", "HOUSEHOLD")
_STATES = ("CA", "TX", "WI", "NY", "FL", "OH", "GA", "PA", "WA", "IL")


@dataclass(frozen=True)
class Layout:
    """Attributes of every series, and of every item, as codes into names.

    Attributes
    ----------
    names : dict of str to list of str
        Names by static attribute (``item_id``, ``dept_id``, ...).
    codes : dict of str to numpy.ndarray, shape (n_series,)
        Code of each series by static attribute.
    ids : numpy.ndarray, shape (n_series,)
        Identifiers, ``FOODS_1_001_CA_1``, in increasing order.
    item_department : numpy.ndarray, shape (n_items,)
        Department of each item.
    """

    names: dict[str, list[str]]
    codes: dict[str, np.ndarray]
    ids: np.ndarray
    item_department: np.ndarray

    @property
    def department_category(self) -> np.ndarray:
        """Category of each department, shape (n_departments,)."""
        return np.arange(len(self.names["dept_id"])) % len(_CATEGORIES)


def make_layout(n_series: int, n_departments: int, n_stores: int, n_states: int) -> Layout:
    """Lay out items over departments and stores over states, both in turn."""
    store_state = np.sort(np.arange(n_stores) % n_states)
    states = [*_STATES, *(f"S{k + 1}" for k in range(len(_STATES), n_states))][:n_states]
    stores, seen = [], [0] * n_states
    for state in store_state:
        seen[state] += 1
        stores.append(f"{states[state]}_{seen[state]}")
    departments = [
        f"{_CATEGORIES[k % len(_CATEGORIES)]}_{k // len(_CATEGORIES) + 1}"
        for k in range(n_departments)
    ]
    n_items = -(-n_series // n_stores)
    item_department = np.arange(n_items) % n_departments
    items = [
        f"{departments[i % n_departments]}_{i // n_departments + 1:03d}" for i in range(n_items)
    ]
    item, store = np.divmod(np.arange(n_series), n_stores)
    ids = np.array([f"{items[i]}_{stores[s]}" for i, s in zip(item, store, strict=True)])
    # In order of the names, so that a panel read back from a file has its series in this order.
    order = np.argsort(ids)
    item, store = item[order], store[order]
    department = item_department[item]
    return Layout(
        names={
            "item_id": items,
            "dept_id": departments,
            "cat_id": list(_CATEGORIES),
            "store_id": stores,
            "state_id": states,
        },
        codes={
            "item_id": item,
            "dept_id": department,
            "cat_id": department % len(_CATEGORIES),
            "store_id": store,
            "state_id": store_state[store],
        },
        ids=ids[order],
        item_department=item_department,
    )
