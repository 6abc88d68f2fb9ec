"""A rogue in an unchanged product: it must get nothing out."""

import rogue_tries

rogue_tries.start()
