"""How the edge's answer compares with the cloud's: checkers, and a judge. Pure: texts in, a gap out.

A checker gives a `Comparison`, or None where it cannot judge the two. `auto` picks the one that fits.
"""

from ecotone.checking.auto import CHECKERS, against, auto, pick
from ecotone.checking.contract import GROUP, Checker, Compare, Guarded, Make, is_sound
from ecotone.checking.similar import Embedded, Scale, scale_from

__all__ = [
    "CHECKERS",
    "GROUP",
    "Checker",
    "Compare",
    "Embedded",
    "Guarded",
    "Make",
    "Scale",
    "against",
    "auto",
    "is_sound",
    "pick",
    "scale_from",
]
