"""What becomes of a lost unit: shares that move to sister items or to later days."""

from __future__ import annotations

from dataclasses import dataclass

from civstats.schema import CivstatsError, check_share


@dataclass(frozen=True)
class Recapture:
    """Shares of each lost unit of demand that another item or another day gets to see.

    Units move whole, each at most once and independently of the others: with probability
    `substitute` to a sister item (same store and department, any of those that opened the day in
    stock with equal chance; no sister open: lost), with probability `later` to the same item one
    to `within_days` days later (equal chances), otherwise lost. What moves joins the demand that
    the receiving series faces, behind the demand of its own; a moved unit that meets an empty
    shelf, or arrives after the panel's last day, is lost for good.

    Attributes
    ----------
    substitute, later : float
        Shares in [0, 1], together at most 1.
    within_days : int
        Longest wait of a customer who comes back, days.

    Examples
    --------
    >>> Recapture(substitute=0.2, later=0.1).within_days
    3
    """

    substitute: float = 0.0
    later: float = 0.0
    within_days: int = 3

    def __post_init__(self) -> None:
        check_share("recapture.substitute", self.substitute)
        check_share("recapture.later", self.later)
        if self.substitute + self.later > 1 + 1e-12:
            raise CivstatsError(
                f"recapture: substitute {self.substitute:g} and later {self.later:g} add up to more "
                "than 1; a lost unit moves at most once"
            )
        if isinstance(self.within_days, bool) or int(self.within_days) != self.within_days:
            raise CivstatsError(
                f"recapture.within_days must be whole, but got {self.within_days!r}"
            )
        if self.within_days < 1:
            raise CivstatsError(f"recapture.within_days must be 1 or more, not {self.within_days}")
