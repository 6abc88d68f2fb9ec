"""The bytes for one target: as the caller wrote them, or with surrogates in place of what must not go there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ecotone import privacy, pseudonyms
from ecotone.flow.planning import Plan
from ecotone.flow.site import Site
from ecotone.ports import Prepared, Target
from ecotone.values import Egress, Endpoint, Place, RefusalError, Request, TargetError


class Ready(msgspec.Struct, frozen=True):
    """What a target would be sent.

    Attributes:
        replaced: How many values of each label were replaced in it.
        restorer: Puts them back into the answer; None where nothing was replaced.
    """

    prepared: Prepared
    replaced: Mapping[str, int] = MappingProxyType({})
    restorer: pseudonyms.Restorer | None = None


def prepare(site: Site, request: Request, target: Target, decided: Plan) -> Ready:
    """The bytes for this target, by the plan's limit on it.

    Raises:
        TargetError: this target cannot express the request, or not all that must be replaced can be
            (`egress_refused`); the next one may.
        RequestError: no target can.
    """
    ready = _ready(site, request, target, decided)
    withheld = site.look.withheld
    if withheld is None or target.spec.at is Place.EDGE or request.endpoint is Endpoint.EMBEDDINGS:
        return ready
    said = [segment.text for segment in decided.findings.segments]
    screen = privacy.Screen(*withheld, said, ready.prepared.reply)
    return msgspec.structs.replace(ready, prepared=msgspec.structs.replace(ready.prepared, reply=screen))


def _ready(site: Site, request: Request, target: Target, decided: Plan) -> Ready:
    limit = decided.limit(target.spec.name)
    if limit.egress is not Egress.PSEUDONYMISE:
        return Ready(target.prepare(request))
    findings = decided.findings
    scope = pseudonyms.Scope(site.surrogate_secret, request.key, target.spec.surrogates)
    try:
        masked = pseudonyms.mask(request, findings.segments, findings.spots, frozenset(limit.replace), scope)
    except RefusalError as error:
        raise TargetError("egress_refused", error.message) from error
    prepared = target.prepare(masked.request)
    assert prepared.reply is None, "an answer has one form: a target in the cloud passes events on as they are"
    if masked.leaks(prepared.body):
        raise TargetError("egress_refused", "a value that was to be replaced is still there")
    restorer = masked.restorer(request.endpoint)
    prepared = msgspec.structs.replace(prepared, reply=restorer, transform=masked.transform)
    return Ready(prepared, masked.replaced, restorer)
