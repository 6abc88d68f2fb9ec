"""One delivery in a process of its own, to be killed: `ours MANIFEST URL STORE` or `plain URL SHA256 PART`."""

from __future__ import annotations

import sys
from pathlib import Path

from ecotone.assets import NoProgress
from ecotone.assets.fetch import Patience, fetched
from ecotone.assets.resume import Wanted
from ecotone.assets.web import Link, Web
from ecotone.delivery.fetch import HttpSource, Tally
from ecotone.delivery.install import install
from ecotone.transfer import decode

PATIENCE = Patience(tries_max=50, wait_first_s=0.01, wait_max_s=0.05)

kind, *given = sys.argv[1:]
if kind == "ours":
    manifest, url, store = given
    tally = Tally()
    install(decode(Path(manifest).read_bytes()), [HttpSource(url)], Path(store), patience=PATIENCE, tally=tally)
    print(tally.requests)
else:
    url, sha256, part = given
    wanted = Wanted(url=url, what="the whole file", sha256=sha256)
    fetched(Web(Link()), wanted, Path(part), PATIENCE, NoProgress())
