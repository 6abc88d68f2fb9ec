"""Permits: leave for exactly these bytes to go to exactly this target (invariant 1)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from ecotone.values import Egress, Limit, Permit, Place, RefusalError, TargetSpec, binding

REPLACED: Final = "pseudonymise:"
"""How the name of a transformation begins that replaced values by surrogates."""


class Mint:
    """Makes permits and recognises its own. The secret never leaves this object."""

    def __init__(self, secret: bytes) -> None:
        """Takes at least 32 random bytes, new at each start."""
        assert len(secret) >= 32
        self._keyed = hmac.new(secret, digestmod=hashlib.sha256)

    def permit(
        self, *, request: str, spec: TargetSpec, origin: str, body: bytes, limit: Limit, transform: str = "none"
    ) -> Permit:
        """A permit for these exact bytes, made by this transformation.

        Raises:
            RefusalError: the limit does not let them pass like this (`refused.policy`).
        """
        if spec.at is not Place.CLOUD or not _lets(limit, transform):
            raise RefusalError("refused.policy", f"{limit.rule} does not let this request go to {spec.name}")
        digest = binding(transform, body)
        unsealed = Permit(request, spec.name, origin, digest, transform, limit.rule, b"")
        return Permit(request, spec.name, origin, digest, transform, limit.rule, self._seal(unsealed))

    def verify(self, permit: Permit) -> bool:
        """Whether this mint made the permit, unchanged. Constant time."""
        return hmac.compare_digest(permit.seal, self._seal(permit))

    def _seal(self, permit: Permit) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(
            "\x1f".join(
                (permit.request, permit.target, permit.origin, permit.digest, permit.transform, permit.rule)
            ).encode()
        )
        return keyed.digest()


def _lets(limit: Limit, transform: str) -> bool:
    """Whether a limit lets bytes pass that were made like this; never before all detectors have looked."""
    if limit.is_open:
        return False
    if limit.egress is Egress.FREE:
        return transform == "none"
    return limit.egress is Egress.PSEUDONYMISE and transform.startswith(REPLACED)
