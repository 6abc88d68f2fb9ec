"""What a form gives away: numbers with checksums, addresses of the net, keys and tokens, values after a telling word.

One door: `Patterns`, built once at start, asked for every text.
"""

from ecotone.privacy.patterns.scan import Patterns

__all__ = ["Patterns"]
