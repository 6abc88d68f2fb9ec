"""A configuration as YAML that `parse` reads back to the same tree."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from ecotone.config.tree import Config


def render(config: Config) -> str:
    """The configuration as YAML: what differs from the defaults, in the tree's order."""
    plain: dict[str, Any] = msgspec.to_builtins(config)
    for target in plain.get("targets", {}).values():
        if "url" in target:
            target.pop("engine")
    return dump(plain) if plain else "{}\n"


def dump(plain: Any) -> str:
    """Plain values as YAML, keys in the order given."""
    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return text
