"""The models that Ecotone knows by name: where they come from, their digest, licence and prompt forms."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import msgspec

from ecotone.assets.reference import Reference, parse
from ecotone.values import ConfigError

__all__ = ["Entry", "default", "entries", "find"]

PromptForm = Literal["template", "few_shot"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the catalogue.

    Attributes:
        sources: References whose bytes, one after the other, are the file; most have one.
        sha256: Digest of the whole file.
        licence_note: What the user must know before using it, where the licence restricts use.
        kind: `chat` has a chat template; `completion` continues text, and a chat request is not for it.
        prompt_forms: For each task, the form that measured best: the model's own template, or raw text
            with examples. A task that is not named has no measured form.
    """

    name: str
    description: str
    kind: Literal["chat", "completion"]
    sources: tuple[str, ...]
    sha256: str
    bytes: int
    licence: str
    licence_note: str = ""
    is_default: bool
    context_tokens: int
    has_chat_template: bool
    prompt_forms: dict[str, PromptForm]

    def parts(self) -> tuple[Reference, ...]:
        """The sources, understood."""
        return tuple(parse(source)[0] for source in self.sources)


class _Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    models: tuple[Entry, ...]


@cache
def entries() -> MappingProxyType[str, Entry]:
    """All models by name, in the catalogue's order; read from the package once."""
    # Beside this file, and not by importlib.resources, which would load zipfile and tempfile at every start.
    raw = Path(__file__).with_name("catalogue.json").read_bytes()
    models = msgspec.json.decode(raw, type=_Catalogue).models
    return MappingProxyType({entry.name: entry for entry in models})


def default() -> Entry:
    """The starter model, which a site without a file runs."""
    return next(entry for entry in entries().values() if entry.is_default)


def find(name: str) -> Entry:
    """The model of that name.

    Raises:
        ConfigError: `asset.unknown`, with the names that exist.
    """
    entry = entries().get(name)
    if entry is None:
        known = ", ".join(entries())
        raise ConfigError(
            "asset.unknown",
            f"no model '{name}' in the catalogue. Known: {known}; or give file:PATH, "
            "pypi:PACKAGE==VERSION!MEMBER or hf:OWNER/REPO/FILE",
        )
    return entry
