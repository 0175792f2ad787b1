"""What a frame of pairs says of each forecast, in words too."""

from __future__ import annotations

from typing import cast

import numpy as np
import pandas as pd

from civstats.schema import CivstatsError, parse_alias

_FAMILY = ["metric", "regime", "level"]


def winners(pairs: pd.DataFrame) -> pd.DataFrame:
    """Say of each forecast which others it beats, which beat it, and what is not decided.

    Parameters
    ----------
    pairs : pandas.DataFrame
        From :func:`pairwise`; several of them, one below the other, are kept apart by metric,
        regime and level.

    Returns
    -------
    pandas.DataFrame
        ``metric, regime, level, name, model, treatment, value, better_than, worse_than,
        undecided, not_beaten, caveat, sentence``, a row per forecast, those that nothing beats first,
        then those that beat most. The three lists are names with commas between them. The caveat, with
        which the sentence ends, is the pairs': a winner by a score of sales is none of demand.

    Raises
    ------
    CivstatsError
        If columns are missing or there is no row.

    Notes
    -----
    Nothing beats the forecasts of the set `not_beaten`, which is never empty. It is no model
    confidence set (Hansen, Lunde and Nason 2011): nothing bounds the probability that the best forecast is
    in it other than that of any false winner, and few data leave everything in it.

    Examples
    --------
    >>> pairs = pd.DataFrame({"metric": "rmse", "regime": "demand", "level": np.nan,
    ...     "a": ["A_mask", "A_mask", "B_mask"], "b": ["B_mask", "C_mask", "C_mask"],
    ...     "value_a": [1.0, 1.0, 1.1], "value_b": [1.1, 2.0, 2.0], "better": ["", "A_mask", ""]})
    >>> table = winners(pairs)
    >>> table["not_beaten"].tolist()
    [True, True, False]
    >>> table["sentence"][0]
    'A_mask is better than C_mask; between A_mask and B_mask nothing is decided.'
    """
    needed = [*_FAMILY, "a", "b", "value_a", "value_b", "better"]
    missing = [c for c in needed if c not in pairs.columns]
    if missing or pairs.empty:
        raise CivstatsError(
            f"the pairs lack {', '.join(missing) or 'rows'}: pass the frame that pairwise returns"
        )
    return pd.concat(
        [
            _family(part)
            for _, part in pairs.groupby(_FAMILY, sort=False, dropna=False, observed=True)
        ],
        ignore_index=True,
    )


def _family(pairs: pd.DataFrame) -> pd.DataFrame:
    value: dict[str, float] = {}
    lists: dict[str, tuple[list[str], list[str], list[str]]] = {}
    for row in pairs.itertuples(index=False):
        for name, score in ((str(row.a), row.value_a), (str(row.b), row.value_b)):
            value[name] = float(cast(float, score))
            lists.setdefault(name, ([], [], []))
        a, b, better = str(row.a), str(row.b), str(row.better)
        if better in (a, b):
            worse = b if better == a else a
            lists[better][0].append(worse)
            lists[worse][1].append(better)
        else:
            lists[a][2].append(b)
            lists[b][2].append(a)
    caveat = next((str(x) for x in pairs.get("caveat", ()) if x), "")
    rows = []
    for name, (over, under, undecided) in lists.items():
        model, treatment = parse_alias(name)
        rows.append(
            {
                **{c: pairs[c].iloc[0] for c in _FAMILY},
                "name": name,
                "model": model,
                "treatment": treatment,
                "value": value[name],
                "better_than": ", ".join(over),
                "worse_than": ", ".join(under),
                "undecided": ", ".join(undecided),
                "not_beaten": not under,
                "caveat": caveat,
                "sentence": _sentence(name, over, under, undecided, caveat),
            }
        )
    frame = pd.DataFrame(rows)
    beats = np.array([len(lists[name][0]) for name in frame["name"]])
    return frame.iloc[np.lexsort((-beats, ~frame["not_beaten"]))]


def _sentence(
    name: str, over: list[str], under: list[str], undecided: list[str], caveat: str
) -> str:
    said = []
    if over:
        said.append(f"{name} is better than {_list(over)}")
    if under:
        said.append(f"{'worse' if over else f'{name} is worse'} than {_list(under)}")
    if undecided:
        said.append(f"between {name} and {_list(undecided)} nothing is decided")
    text = "; ".join(said)
    end = f" ({caveat})." if caveat else "."
    return f"{text[0].upper() + text[1:] if text.startswith('between') else text}{end}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
