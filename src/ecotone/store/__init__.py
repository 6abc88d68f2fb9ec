"""What a site keeps: the append-only ledger, small documents, hashed keys."""

from ecotone.store.chain import Entry, Head
from ecotone.store.keys import KeyRing, new_key
from ecotone.store.ledger import FOLDER, Ledger, LedgerStatus
from ecotone.store.limits import LedgerLimits
from ecotone.store.reading import find, last
from ecotone.store.state import State
from ecotone.store.verifying import BadEntry, Report, verify

__all__ = [
    "FOLDER",
    "BadEntry",
    "Entry",
    "Head",
    "KeyRing",
    "Ledger",
    "LedgerLimits",
    "LedgerStatus",
    "Report",
    "State",
    "find",
    "last",
    "new_key",
    "verify",
]
