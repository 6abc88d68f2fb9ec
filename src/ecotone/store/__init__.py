"""What a site keeps: the append-only ledger and its proof, small documents, hashed keys."""

from ecotone.store.backup import Condition, Copied, backup, examined, restore
from ecotone.store.chain import Entry, Head
from ecotone.store.checking import Attestation, BadEntry
from ecotone.store.disk import Lock
from ecotone.store.documents import Documents
from ecotone.store.evidence import Answer, Question, answered, await_checkpoint
from ecotone.store.examples import Example, Examples
from ecotone.store.inclusion import Proof, checked, proofs
from ecotone.store.keys import KeyRing, new_key
from ecotone.store.ledger import FOLDER, LOCK, Ledger, LedgerStatus
from ecotone.store.limits import LedgerLimits
from ecotone.store.notes import CHECKPOINTS, Note, parse_all
from ecotone.store.notes import last as last_note
from ecotone.store.opening import FILE as JOBS_FILE
from ecotone.store.opening import QUEUE_LOCK, Recovered
from ecotone.store.queue import Queue
from ecotone.store.queue_limits import QueueLimits
from ecotone.store.reading import find, last
from ecotone.store.salvage import Loss
from ecotone.store.sealing import KEY as STORE_KEY
from ecotone.store.sealing import Sealer, keep_key
from ecotone.store.sealing import key as store_key
from ecotone.store.signing import PUBLIC, verifier_key
from ecotone.store.state import State
from ecotone.store.verifying import Report, Trust, verify
from ecotone.store.walking import Passed, Walk

__all__ = [
    "CHECKPOINTS",
    "FOLDER",
    "JOBS_FILE",
    "LOCK",
    "PUBLIC",
    "QUEUE_LOCK",
    "STORE_KEY",
    "Answer",
    "Attestation",
    "BadEntry",
    "Condition",
    "Copied",
    "Documents",
    "Entry",
    "Example",
    "Examples",
    "Head",
    "KeyRing",
    "Ledger",
    "LedgerLimits",
    "LedgerStatus",
    "Lock",
    "Loss",
    "Note",
    "Passed",
    "Proof",
    "Question",
    "Queue",
    "QueueLimits",
    "Recovered",
    "Report",
    "Sealer",
    "State",
    "Trust",
    "Walk",
    "answered",
    "await_checkpoint",
    "backup",
    "checked",
    "examined",
    "find",
    "keep_key",
    "last",
    "last_note",
    "new_key",
    "parse_all",
    "proofs",
    "restore",
    "store_key",
    "verifier_key",
    "verify",
]
