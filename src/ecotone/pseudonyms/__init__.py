"""Values that must not leave, replaced on the way out and put back on the way in. Two doors: `mask`, `Masked.restorer`.

Best effort by its nature: what no detector saw is not replaced, and what a model rewrites beyond recognition is not
restored. What is here is exact: the same value has the same surrogate in all turns of a conversation, no two values
share one, nothing is kept after the answer, and a surrogate is never half restored, guessed, or restored in a link.
"""

from ecotone.pseudonyms.masking import Masked, mask
from ecotone.pseudonyms.matching import Counts
from ecotone.pseudonyms.restoring import Restorer
from ecotone.pseudonyms.scope import Scope

__all__ = ["Counts", "Masked", "Restorer", "Scope", "mask"]
