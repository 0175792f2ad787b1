"""An order-up-to policy walked on from the last day on record, along paths of demand."""

from __future__ import annotations

import numpy as np

from civstats.models.availability._replay import Rule, Shelves, learn, need
from civstats.stockouts.simulate import InventoryPolicy


class Replay:
    """Walks shelves ahead from the last day of the past.

    Parameters
    ----------
    past : Shelves
    policy : InventoryPolicy
    before, after : Rule
        By which orders were placed up to the cutoff, and are placed after it.
    ahead : numpy.ndarray, shape (n_series, n_days)
        Profile of the days to come.
    """

    def __init__(
        self,
        past: Shelves,
        policy: InventoryPolicy,
        before: Rule,
        after: Rule,
        ahead: np.ndarray,
    ) -> None:
        self.past, self.policy, self.before, self.after = past, policy, before, after
        reach = int(np.max(policy.lead_time)) + int(np.max(policy.review_period)) + 1
        self.tail = min(reach, past.stock.shape[1])
        recent = np.nan_to_num(past.profile[:, -self.tail :], nan=1.0)
        self.profile = np.concatenate([recent, ahead], axis=1)

    def _target(
        self, level: np.ndarray, i: np.ndarray, day: int, rule: Rule, uniform: np.ndarray
    ) -> np.ndarray:
        """Order-up-to level after closing on a day of the tail and what follows it."""
        span = int(rule.days[i[0]])
        part = self.profile[i, day + 1 : day + 1 + span]
        beyond = span - part.shape[1]
        sums = (
            (part.sum(axis=1) + beyond)[:, None],
            ((part**2).sum(axis=1) + beyond)[:, None],
        )
        mean, sd = need(level, sums, self.policy.dispersion)
        return np.maximum(np.floor(mean + rule.safety * sd + uniform), self.policy.min_level)

    def _order(self, target: np.ndarray, position: np.ndarray) -> np.ndarray:
        pack = self.policy.pack_size
        return np.ceil(np.maximum(target - position, 0) / pack) * pack

    def walk(
        self, i: np.ndarray, demand: np.ndarray, uniform: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ``out`` and ``stock`` of series that share a rule, each like `demand`."""
        past, tail, n_past = self.past, self.tail, self.past.stock.shape[1]
        samples, h = demand.shape[1:]
        lead0, lead1 = int(self.before.lead[i[0]]), int(self.after.lead[i[0]])
        longest = uniform.shape[2] - h
        arrive = np.zeros((len(i), samples, h + longest + 1))
        closing = past.stock[i] - past.sales[i]
        came = np.zeros_like(closing)
        came[:, 1:] = np.nan_to_num(past.stock[i, 1:] - closing[:, :-1])
        # Orders of the last days are under way: their size follows from the record and the rule.
        placed = np.zeros((len(i), samples, lead0))
        for k in range(min(lead0, n_past)):
            day = n_past - lead0 + k
            under_way = came[:, day + 1 : day + lead0][..., : max(lead0 - 1 - k, 0)].sum(axis=1)
            position = (closing[:, day] + under_way)[:, None] + placed[:, :, :k].sum(axis=2)
            due = ((day + self.before.phase[i]) % self.before.review[i] == 0)[:, None]
            target = self._target(
                past.level[i, day][:, None], i, tail - lead0 + k, self.before, uniform[:, :, k]
            )
            placed[:, :, k] = np.where(due, self._order(target, position), 0)
            arrive[:, :, k] += placed[:, :, k]
        level = np.broadcast_to(past.level[i, -1][:, None], (len(i), samples))
        seen = np.broadcast_to(past.seen[i, -1][:, None], (len(i), samples))
        on_hand = np.broadcast_to(closing[:, -1][:, None], (len(i), samples))
        coming = placed.sum(axis=2)
        out, stock = np.empty(demand.shape, bool), np.empty(demand.shape, np.float32)
        for t in range(h):
            on_hand = on_hand + arrive[:, :, t]
            coming = coming - arrive[:, :, t]
            sold = np.minimum(demand[:, :, t], on_hand)
            out[:, :, t] = empty = sold >= on_hand
            stock[:, :, t] = np.where(empty, on_hand, np.inf)
            level, seen = learn(
                level, seen, sold / self.profile[i, tail + t][:, None], empty, self.policy
            )
            on_hand = on_hand - sold
            due = ((n_past + t + self.after.phase[i]) % self.after.review[i] == 0)[:, None]
            target = self._target(level, i, tail + t, self.after, uniform[:, :, longest + t])
            order = np.where(due, self._order(target, on_hand + coming), 0)
            arrive[:, :, t + lead1] += order
            coming = coming + order
        return out, stock
