"""Compiled day-by-day walks over the shelves: an inventory policy, given outages and caps.

Import this module inside functions only: it loads numba.
"""

# mypy: disallow-untyped-defs=False
# Compiled functions take their types from the arrays they are called with.

from __future__ import annotations

import math

import numpy as np
from numba import njit

from civstats.stockouts.simulate.draws import ROUND, learn, move_losses, thin, uniform


@njit
def policy_walk(
    group_ends,
    member,
    start,
    end,
    first_day,
    demand,
    profile,
    key,
    review,
    lead,
    phase,
    cover,
    change,
    safety,
    memory,
    prior_level,
    prior_days,
    dispersion,
    min_level,
    pack,
    launch_days,
    launch_stock,
    share_sister,
    share_later,
    within,
    stock,
    sales,
    recaptured,
):
    """Walk an order-up-to policy through every group; fill `stock`, `sales`, `recaptured`.

    A day: what was ordered `lead` days ago is on the shelf before opening; sales; then, on a
    review day, an order that brings on-hand plus on-order up to the level of the days until the
    next order's arrival. Only sales up to and including today and known covariates enter.

    `review`, `lead`, `phase` and `cover` (days that the level is to last) have a row for the days
    before day `change` and one for those from it on.
    """
    first = 0
    has_recapture = share_sister + share_later > 0
    for g in range(len(group_ends)):
        ids = member[first : group_ends[g]]
        first = group_ends[g]
        n = len(ids)
        level = np.full(n, prior_level)
        seen = np.zeros(n)
        on_hand = np.zeros(n)
        on_order = np.zeros(n)
        lost = np.zeros(n)
        row = np.full(n, -1)
        is_open = np.zeros(n, dtype=np.bool_)
        opened = np.zeros(n, dtype=np.int64)
        ring = 1
        day0, day1 = first_day[ids[0]], 0
        for i in range(n):
            s = ids[i]
            ring = max(ring, lead[0, s] + 1, lead[1, s] + 1)
            day0 = min(day0, first_day[s])
            day1 = max(day1, first_day[s] + end[s] - start[s])
        pipe = np.zeros((n, ring))
        carry = np.zeros((n, within + 1))
        keys = key[ids]
        for day in range(day0, day1):
            era = 1 if day >= change else 0
            n_open = 0
            for i in range(n):
                s = ids[i]
                r = start[s] + day - first_day[s]
                if r < start[s] or r >= end[s]:
                    row[i] = -1
                    continue
                row[i] = r
                slot = day % ring
                on_hand[i] += pipe[i, slot]
                on_order[i] -= pipe[i, slot]
                pipe[i, slot] = 0.0
                if r - start[s] < launch_days:
                    on_hand[i] = launch_stock
                stock[r] = on_hand[i]
                if has_recapture:
                    recaptured[r] = carry[i, day % (within + 1)]
                    carry[i, day % (within + 1)] = 0.0
                    lost[i] = max(demand[r] - on_hand[i], 0.0)
                    is_open[i] = on_hand[i] > 0
                    if is_open[i]:
                        opened[n_open] = i
                        n_open += 1
            if has_recapture:
                move_losses(
                    day,
                    row,
                    lost,
                    is_open,
                    recaptured,
                    carry,
                    keys,
                    n_open,
                    opened,
                    share_sister,
                    share_later,
                    within,
                )
            for i in range(n):
                r = row[i]
                if r < 0:
                    continue
                s = ids[i]
                faced = demand[r]
                if has_recapture:
                    faced += recaptured[r]
                sold = min(np.float64(faced), on_hand[i])
                sales[r] = sold
                level[i], seen[i] = learn(
                    level[i], seen[i], sold / profile[r], sold >= on_hand[i], memory, prior_days
                )
                on_hand[i] -= sold
                age = r - start[s]
                handover = age == launch_days - 1
                if handover or (age >= launch_days and (day + phase[era, s]) % review[era, s] == 0):
                    need, variance = 0.0, 0.0
                    for d in range(1, cover[era, s] + 1):
                        mean = level[i] * (profile[r + d] if r + d < end[s] else 1.0)
                        need += mean
                        variance += mean + mean * mean / dispersion
                    target = need + safety * math.sqrt(variance)
                    # Random rounding: a level of 1.3 units is 2 on three days out of ten.
                    target = max(math.floor(target + uniform(keys[i], ROUND, day, 0)), min_level)
                    if handover:
                        on_hand[i] = target
                    else:
                        order = target - on_hand[i] - on_order[i]
                        if order > 0:
                            order = math.ceil(order / pack) * pack
                            pipe[i, (day + lead[era, s]) % ring] += order
                            on_order[i] += order


@njit
def given_walk(
    group_ends,
    member,
    start,
    end,
    first_day,
    demand,
    profile,
    cover,
    share,
    key,
    memory,
    prior_level,
    prior_days,
    share_sister,
    share_later,
    within,
    stock,
    sales,
    recaptured,
):
    """Serve demand through given outages; fill `stock`, `sales`, `recaptured`.

    `cover` is NaN on a day with plenty, else the day's stock in multiples of what past sales and
    known covariates make the shop expect (0: an empty shelf). `share` is the share of the day
    during which the shop can sell; empty where it always can.
    """
    first = 0
    has_recapture = share_sister + share_later > 0
    has_share = len(share) > 0
    for g in range(len(group_ends)):
        ids = member[first : group_ends[g]]
        first = group_ends[g]
        n = len(ids)
        level = np.full(n, prior_level)
        seen = np.zeros(n)
        lost = np.zeros(n)
        row = np.full(n, -1)
        is_open = np.zeros(n, dtype=np.bool_)
        opened = np.zeros(n, dtype=np.int64)
        day0, day1 = first_day[ids[0]], 0
        for i in range(n):
            s = ids[i]
            day0 = min(day0, first_day[s])
            day1 = max(day1, first_day[s] + end[s] - start[s])
        carry = np.zeros((n, within + 1))
        keys = key[ids]
        for day in range(day0, day1):
            n_open = 0
            for i in range(n):
                s = ids[i]
                r = start[s] + day - first_day[s]
                if r < start[s] or r >= end[s]:
                    row[i] = -1
                    continue
                row[i] = r
                open_share = share[r] if has_share else 1.0
                stock[r] = np.nan
                if not math.isnan(cover[r]):
                    expected = level[i] * profile[r] * cover[r]
                    stock[r] = math.floor(expected + uniform(keys[i], ROUND, day, 0))
                    if cover[r] == 0:
                        stock[r] = 0.0
                room = np.inf if math.isnan(stock[r]) else np.float64(stock[r])
                own = min(np.float64(demand[r]), room)
                if open_share < 1:
                    own = thin(keys[i], day, 0, demand[r], open_share)
                sales[r] = own
                if has_recapture:
                    recaptured[r] = carry[i, day % (within + 1)]
                    carry[i, day % (within + 1)] = 0.0
                    lost[i] = demand[r] - own
                    is_open[i] = room > 0 and open_share == 1
                    if is_open[i]:
                        opened[n_open] = i
                        n_open += 1
            if has_recapture:
                move_losses(
                    day,
                    row,
                    lost,
                    is_open,
                    recaptured,
                    carry,
                    keys,
                    n_open,
                    opened,
                    share_sister,
                    share_later,
                    within,
                )
            for i in range(n):
                r = row[i]
                if r < 0:
                    continue
                room = np.inf if math.isnan(stock[r]) else np.float64(stock[r])
                if has_recapture and recaptured[r] > 0:
                    extra = np.float64(recaptured[r])
                    if has_share and share[r] < 1:
                        extra = thin(keys[i], day, int(demand[r]), extra, share[r])
                    sales[r] = min(sales[r] + extra, room)
                if not (has_share and share[r] < 1):
                    level[i], seen[i] = learn(
                        level[i],
                        seen[i],
                        sales[r] / profile[r],
                        sales[r] >= room,
                        memory,
                        prior_days,
                    )
