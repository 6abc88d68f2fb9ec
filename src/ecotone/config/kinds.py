"""What the sections of the configuration are made of: names, references to secrets, amounts, and `Section` itself."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

REFERENCE: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"
"""A secret that can be read: an environment variable or a file."""

KEY_REFERENCE: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|sha256:[0-9a-f]{64})$"
"""A secret that can be compared with: as above, or its SHA-256."""

STORE_KEY_REFERENCE: Final = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|keyring:[^\s/]{1,100}/\S{1,200})$"
"""A secret that can be read, or looked up in the system's keyring."""

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", extra={"is": "letters, digits, . _ -"})]
ModelName = Annotated[str, Meta(pattern=r"^[^\s,\"]{1,200}$", extra={"is": "text without spaces, commas or quotes"})]
LabelName = Annotated[str, Meta(pattern=r"^[a-z0-9_.:-]{1,64}$", extra={"is": "lower-case letters, digits, _ . : -"})]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$", extra={"is": "letters, digits, -"})]
Region = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", extra={"is": "lower-case letters, digits, -"})]
Hostish = Annotated[str, Meta(pattern=r"^\S{1,255}$", extra={"is": "an address without spaces"})]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$", extra={"is": "64 hexadecimal digits"})]
Secret = Annotated[
    str,
    Meta(
        pattern=REFERENCE,
        extra={"secret": "`env:NAME` (and the secret in the environment variable NAME) or `file:PATH`"},
    ),
]
CallerKey = Annotated[
    str,
    Meta(
        pattern=KEY_REFERENCE,
        extra={"secret": "`env:NAME`, `file:PATH` or `sha256:HEX` (`ecotone keys new NAME` makes a key and its line)"},
    ),
]
StoreKey = Annotated[
    str,
    Meta(
        pattern=STORE_KEY_REFERENCE,
        extra={"secret": "`env:NAME`, `file:PATH` or `keyring:SERVICE/NAME` (the system's keyring)"},
    ),
]
Positive = Annotated[int, Meta(ge=1, le=100_000_000)]
Amount = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A mapping of the file: unknown keys are refused."""
