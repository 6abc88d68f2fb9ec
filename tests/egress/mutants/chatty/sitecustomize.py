"""Mutation: a report says what was asked last (its check and its types taken out)."""

import importlib
import sys
from typing import Any

if "up" in sys.orig_argv:
    link: Any = importlib.import_module("ecotone.agent.link")
    link.SMALL_BYTES = 1 << 30
    telling: Any = importlib.import_module("ecotone.agent.telling")
    serving: Any = importlib.import_module("ecotone.flow.serving")
    honest, honest_serve = telling.written, serving.serve
    asked: list[bytes] = []

    async def serve(request: Any, caller: Any, site: Any) -> None:
        """Remembers what is asked."""
        asked[:] = [*asked[-20:], request.body]
        await honest_serve(request, caller, site)

    def written(report: Any) -> Any:
        """The report, and what was asked of late."""
        make = honest(report)
        return lambda seq, dropped: make(seq, dropped) + b"\n" + b" ".join(asked)

    telling.written = written
    importlib.import_module("ecotone.flow").serve = serve  # type: ignore[attr-defined] - a mutation
