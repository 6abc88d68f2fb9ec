"""LiteLLM's sections besides `model_list`: fallbacks, aliases, limits, the master key; the rest is named."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_FALLBACKS: Final = ("fallbacks", "context_window_fallbacks")
_FIGURES: Final[dict[tuple[str, str], tuple[str, str, float, float, float]]] = {
    ("router_settings", "timeout"): ("timeouts", "total_s", 1, 0.001, 86_400),
    ("litellm_settings", "request_timeout"): ("timeouts", "total_s", 1, 0.001, 86_400),
    ("router_settings", "allowed_fails"): ("breaker", "failures", 1, 1, 1000),
    ("router_settings", "cooldown_time"): ("breaker", "open_s", 1, 0.001, 3600),
    ("general_settings", "max_request_size_mb"): ("limits", "body_bytes_max", 1_048_576, 1024, 1 << 30),
    ("general_settings", "global_max_parallel_requests"): ("limits", "in_flight_max", 1, 1, 100_000),
}
"""(section, key) -> (our section, our key, factor, least, most)."""

_WHOLE: Final = frozenset({"failures", "body_bytes_max", "in_flight_max"})
_WHY_NOT: Final = {
    "routing_strategy": "targets are tried in the order written, past those that a limit rules out",
    "num_retries": "each target is tried once, then the next one",
    "content_policy_fallbacks": "an answer that a target refused is passed on",
    "drop_params": "unknown fields go through to targets that may know them",
    "master_key": "",
    "environment_variables": "set them in the environment of the site",
}


class Settings(msgspec.Struct):
    """What the other sections say.

    Attributes:
        sections: Our sections, as plain values.
        fallbacks: (model name or `*`, model names) in order.
        aliases: Model name -> model name.
        notes: What could not be carried over.
    """

    sections: dict[str, dict[str, Any]] = {}
    fallbacks: list[tuple[str, list[str]]] = []
    aliases: dict[str, str] = {}
    master_key: str = ""
    notes: list[str] = []

    def models(self, groups: dict[str, list[str]]) -> tuple[dict[str, list[str]], list[str]]:
        """Our `models`, and notes: each name's own targets, then those of its fallbacks."""
        notes: list[str] = []
        models = {name: list(targets) for name, targets in groups.items()}
        for name, names in self.fallbacks:
            wanted = list(groups) if name == "*" else [model_name(name)]
            for one in wanted:
                if one not in models:
                    notes.append(f"not carried over: fallbacks of {name}, which has no target")
                    continue
                for other in map(model_name, names):
                    if other not in groups:
                        notes.append(f"not carried over: the fallback from {one} to {other}, which has no target")
                    models[one] += [target for target in groups.get(other, []) if target not in models[one]]
        for alias, name in self.aliases.items():
            if model_name(name) in models:
                models.setdefault(model_name(alias), models[model_name(name)])
            else:
                notes.append(f"not carried over: the alias {alias} for {name}, which has no target")
        many = [name for name, targets in groups.items() if len(targets) > 1]
        if many:
            notes.append(f"balancing becomes an order of preference, the first one first, for: {', '.join(many)}")
        return models, notes


def settings_of(plain: dict[str, Any]) -> Settings:
    """Reads every section but `model_list`."""
    found = Settings()
    for section, said in plain.items():
        if not isinstance(said, dict) or section == "environment_variables":
            names = f" ({', '.join(said)})" if isinstance(said, dict) else ""
            why = f": {_WHY_NOT[section]}" if section in _WHY_NOT else ""
            found.notes.append(f"not carried over: {section}{names}{why}")
            continue
        for key, value in said.items():
            _one(found, section, key, value)
    breaker = found.sections.get("breaker", {})
    if breaker.get("open_s", 0) > 30:
        breaker["open_s_max"] = breaker["open_s"]
    return found


def _one(found: Settings, section: str, key: str, value: Any) -> None:
    if key in _FALLBACKS and isinstance(value, list):
        for entry in value:
            for name, names in entry.items() if isinstance(entry, dict) else ():
                found.fallbacks.append((str(name), _names(names, found, f"{section}.{key}")))
    elif key == "default_fallbacks" and isinstance(value, list):
        found.fallbacks.append(("*", _names(value, found, f"{section}.{key}")))
    elif key == "model_group_alias" and isinstance(value, dict):
        for alias, target in value.items():
            name = target.get("model") if isinstance(target, dict) else target
            found.aliases[str(alias)] = str(name)
    elif (section, key) == ("general_settings", "master_key") and isinstance(value, str):
        found.master_key = value
    elif not _figure(found, section, key, value):
        why = f" ({_WHY_NOT[key]})" if _WHY_NOT.get(key) else ""
        found.notes.append(f"not carried over: {section}.{key}{why}")


def _names(value: Any, found: Settings, path: str) -> list[str]:
    """The model names of a fallback list; an entry with settings of its own is named."""
    names = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, str):
            names.append(item)
        else:
            found.notes.append(f"not carried over: a fallback with settings of its own in {path}")
    return names


def _figure(found: Settings, section: str, key: str, value: Any) -> bool:
    place = _FIGURES.get((section, key))
    if place is None:
        return False
    ours, name, factor, least, most = place
    try:
        figure = float(value) * factor
    except (TypeError, ValueError):
        return False
    if not least <= figure <= most:
        return False
    found.sections.setdefault(ours, {})[name] = int(figure) if name in _WHOLE else figure
    return True


def model_name(group: str) -> str:
    """A LiteLLM model name as one of ours: no spaces, commas, quotes or control characters."""
    printable = "".join(char if char.isprintable() else " " for char in group)
    return re.sub(r"[\s,\"]+", "-", printable)[:200] or "-"
