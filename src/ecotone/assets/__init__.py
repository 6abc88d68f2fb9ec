"""Local model files: named by a reference, fetched once, and checked by SHA-256 before every load.

    store = assets.open_store("~/.local/share/ecotone")
    asset = store.resolve("smollm2-135m") or store.pull("smollm2-135m", progress=assets.LineProgress())
    with store.hold(asset) as held:          # hashed through one open descriptor
        ...start a worker with held.fd_path and pass_fds=[held.fd]...
        held.confirm()                       # and unchanged while it loaded

`resolve`, `list`, `checked_path` and `hold` use no network. Nothing of a fetched wheel is run or installed.
"""

from ecotone.assets.catalogue import Entry, default, entries
from ecotone.assets.digest import Held
from ecotone.assets.errors import FetchError, StoreError
from ecotone.assets.progress import LineProgress, NoProgress, Progress
from ecotone.assets.store import Arrival, Asset, AssetStore, open_store

__all__ = [
    "Arrival",
    "Asset",
    "AssetStore",
    "Entry",
    "FetchError",
    "Held",
    "LineProgress",
    "NoProgress",
    "Progress",
    "StoreError",
    "default",
    "entries",
    "open_store",
]
