"""Has the dear detectors look, where something might leave the site."""

from __future__ import annotations

from ecotone import privacy
from ecotone.flow.site import Site
from ecotone.values import Findings, Request


async def look_on(site: Site, request: Request, findings: Findings, limit_s: float) -> Findings:
    """The findings after all detectors have looked; whoever could not in time makes the conversation `unknown`.

    Args:
        limit_s: Seconds that this may take.
    """
    seen = privacy.unseen(findings, site.look)
    if not seen.texts:
        return privacy.deepen(request, findings, site.look, seen, ((), ()))
    if site.inspector is None or limit_s <= 0:
        reason = "no worker" if site.inspector is None else "no time"
        absent = tuple((name, reason) for name in seen.names)
        return privacy.deepen(request, findings, site.look, seen, (((),) * len(seen.texts), absent))
    looked = await site.inspector.look(seen.texts, seen.names, limit_s=limit_s)
    return privacy.deepen(request, findings, site.look, seen, (looked.found, looked.missing))
