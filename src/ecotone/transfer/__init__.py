"""How a version of a large file travels: what it is cut into, what is missing, and the shortest way to it.

`manifest` is the document that is signed; `formats` says what may be published; `layout` cuts; `deltas` subtracts;
`plan` decides what to fetch. Bytes and values in, values out: files and links are `delivery`'s.
"""

from ecotone.transfer.manifest import Delta, Manifest, Part, Requires, Segment, decode, encode
from ecotone.transfer.plan import Get, Plan, Range, plan

__all__ = ["Delta", "Get", "Manifest", "Part", "Plan", "Range", "Requires", "Segment", "decode", "encode", "plan"]
