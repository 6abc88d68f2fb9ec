"""Permits: leave for exactly these bytes to go to exactly this target (invariant 1)."""

from __future__ import annotations

import hashlib
import hmac

from ecotone.values import Egress, Limit, Permit, Place, RefusalError, TargetSpec


class Mint:
    """Makes permits and recognises its own. The secret never leaves this object."""

    def __init__(self, secret: bytes) -> None:
        """Takes at least 32 random bytes, new at each start."""
        assert len(secret) >= 32
        self._keyed = hmac.new(secret, digestmod=hashlib.sha256)

    def permit(self, *, request: str, spec: TargetSpec, origin: str, body: bytes, limit: Limit) -> Permit:
        """A permit for these exact bytes.

        Raises:
            RefusalError: the limit does not let them pass as they are (`refused.policy`).
        """
        if spec.at is not Place.CLOUD or limit.egress is not Egress.FREE:
            raise RefusalError("refused.policy", f"{limit.rule} does not let this request go to {spec.name}")
        digest = hashlib.sha256(body).hexdigest()
        unsealed = Permit(request, spec.name, origin, digest, "none", limit.rule, b"")
        return Permit(request, spec.name, origin, digest, "none", limit.rule, self._seal(unsealed))

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
