"""A LiteLLM `config.yaml` as an `ecotone.yaml`. What has no counterpart becomes a comment; nothing goes silently."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ecotone.config import document
from ecotone.config.litellm_providers import LOCAL_BASES, SPEAKS_OPENAI, VENDORS, unsupported
from ecotone.config.litellm_settings import Settings, model_name, settings_of
from ecotone.config.parse import config_error, parse
from ecotone.config.render import dump
from ecotone.config.secrets import digest
from ecotone.values import ConfigError

_NO_KEY: Final = frozenset({"", "none", "empty", "dummy", "fake", "not-needed", "no-key", "na", "x", "anything"})
_ENV: Final = "os.environ/"
_CARRIED: Final = frozenset({
    "model", "api_base", "base_url", "api_key", "input_cost_per_token", "output_cost_per_token",
    "max_parallel_requests", "extra_headers", "organization", "custom_llm_provider", "order",
})  # fmt: skip
_CARRIED_INFO: Final = frozenset({
    "mode", "input_cost_per_token", "output_cost_per_token", "max_input_tokens", "id", "description",
})  # fmt: skip
_WHY_NOT: Final = {
    "rpm": "no counterpart: a target is held by `slots` (side by side), and by its own 429",
    "tpm": "no counterpart: a target is held by `slots` (side by side), and by its own 429",
    "weight": "no counterpart: targets are tried in order, not drawn by weight",
    "timeout": "time limits hold for the whole site (`timeouts`)",
    "stream_timeout": "time limits hold for the whole site (`timeouts`)",
    "max_retries": "each target is tried once, then the next one",
}
_MODES: Final = {"chat": ["chat/completions"], "completion": ["completions"], "embedding": ["embeddings"]}


class Imported(msgspec.Struct, frozen=True):
    """The result: a text that `parse` takes, and every comment that stands in it."""

    text: str
    notes: tuple[str, ...]


class _Target(msgspec.Struct):
    name: str
    group: str
    order: float
    plain: dict[str, Any]
    notes: list[str]


def import_litellm(text: str, name: str, environ: Mapping[str, str] = MappingProxyType({})) -> Imported:
    """The `ecotone.yaml` for a LiteLLM configuration.

    Args:
        text: LiteLLM's `config.yaml`.
        name: How messages call the file.
        environ: Where `os.environ/NAME` of an address is looked up; secrets stay references.

    Raises:
        ConfigError: it cannot be read, or none of its deployments can be carried over.
    """
    try:
        root, problems = document.read(text)
    except document.DocumentError as error:
        raise config_error([error.problem], name) from error
    if problems:
        raise config_error(problems, name)
    plain = _plain(root)
    assert isinstance(plain, dict)
    found = _Import(environ)
    found.deployments(plain.pop("model_list", None))
    if not found.targets:
        said = found.dropped or ["it has no model_list"]
        raise ConfigError("config.import", f"{name}: no deployment could be carried over", problems=tuple(said))
    settings = settings_of(plain)
    result = found.written(settings, name)
    parse(result.text, "ecotone.yaml")
    return result


class _Import:
    """Collects targets while the deployments are read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._taken: set[str] = set()
        self.targets: list[_Target] = []
        self.dropped: list[str] = []

    def deployments(self, listed: Any) -> None:
        """Reads `model_list`."""
        for index, entry in enumerate(listed if isinstance(listed, list) else []):
            params = entry.get("litellm_params") if isinstance(entry, dict) else None
            if not isinstance(params, dict) or not entry.get("model_name") or not params.get("model"):
                self.dropped.append(f"model_list[{index}]: needs model_name and litellm_params.model")
                continue
            info = entry.get("model_info")
            why = self._deployment(str(entry["model_name"]), params, info if isinstance(info, dict) else {})
            if why:
                self.dropped.append(f"{entry['model_name']} ({params['model']}): {why}")

    def _deployment(self, group: str, params: dict[str, Any], info: dict[str, Any]) -> str:
        """Adds one target, or gives the reason why not."""
        provider, model = _provider(params)
        if "*" in group or "*" in model:
            return "wildcards have no counterpart: write one target for each model"
        if model != model_name(model):
            return "the model's name holds spaces, commas or quotes"
        mode = str(info.get("mode", ""))
        if mode and mode not in _MODES:
            return f"mode {mode} has no counterpart"
        base = self._base(provider, params)
        if isinstance(base, _Why):
            return base.text
        notes: list[str] = []
        name = self._name(group)
        plain: dict[str, Any] = {"url": base, "model": model, "at": place_of(base)}
        notes.append(f"at: {plain['at']} was read off the address: check it, it decides what may leave the site")
        self._key(plain, provider, params, name, notes)
        self._headers(plain, params, name, notes)
        _figures(plain, params, info, notes)
        if mode in ("completion", "embedding"):
            plain["endpoints"] = _MODES[mode]
        notes += _left_out(params, _CARRIED, "")
        notes += _left_out(info, _CARRIED_INFO, "model_info.")
        self.targets.append(_Target(name, model_name(group), _number(params.get("order")) or 0.0, plain, notes))
        return ""

    def _base(self, provider: str, params: dict[str, Any]) -> str | _Why:
        vendor = VENDORS.get(provider)
        if vendor is None and provider not in SPEAKS_OPENAI:
            return _Why(unsupported(provider))
        said = str(params.get("api_base") or params.get("base_url") or "")
        if said.startswith(_ENV):
            variable = said.removeprefix(_ENV)
            said = self._environ.get(variable, "")
            if not said:
                return _Why(f"its address is in the environment variable {variable}, which is not set here: set it")
        base = said or (vendor[0] if vendor is not None else LOCAL_BASES.get(provider, ""))
        base = base.rstrip("/").removesuffix("/chat/completions")
        if not _is_address(base):
            return _Why("its api_base is not a plain http(s) address" if base else "it has no api_base")
        if provider.startswith("ollama") and not urlsplit(base).path:
            return base + "/v1"
        return base

    def _name(self, group: str) -> str:
        """A target name that is free: the model name's letters, and a number from the second one on."""
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", group).strip("-._")[:56] or "target"
        name, count = stem, 1
        while name in self._taken:
            count += 1
            name = f"{stem}-{count}"
        self._taken.add(name)
        return name

    def _key(self, plain: dict[str, Any], provider: str, params: dict[str, Any], name: str, notes: list[str]) -> None:
        said = str(params.get("api_key") or "")
        vendor = VENDORS.get(provider)
        if said.startswith(_ENV) and _is_variable(said.removeprefix(_ENV)):
            plain["key"] = f"env:{said.removeprefix(_ENV)}"
        elif said and said.lower() not in _NO_KEY:
            plain["key"] = f"env:{_variable(name)}_KEY"
            notes.append(f"the key stood in the file: put it into the environment variable {_variable(name)}_KEY")
        elif not said and vendor is not None and plain["url"] == vendor[0]:
            plain["key"] = f"env:{vendor[1]}"
            notes.append(f"LiteLLM takes the key from the environment variable {vendor[1]}; written out here")

    def _headers(self, plain: dict[str, Any], params: dict[str, Any], name: str, notes: list[str]) -> None:
        said = params.get("extra_headers")
        headers = {str(key): str(value) for key, value in said.items()} if isinstance(said, dict) else {}
        if params.get("organization"):
            headers["OpenAI-Organization"] = str(params["organization"])
        kept: dict[str, str] = {}
        for key, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}", key):
                notes.append(f"not carried over: the header {key!r}")
            elif value.startswith(_ENV) and _is_variable(value.removeprefix(_ENV)):
                kept[key] = f"env:{value.removeprefix(_ENV)}"
            else:
                variable = f"{_variable(name)}_{_variable(key)}"
                kept[key] = f"env:{variable}"
                notes.append(f"the header {key} may be secret: put its value into the environment variable {variable}")
        if kept:
            plain["headers"] = kept

    def written(self, settings: Settings, source: str) -> Imported:
        """The whole text."""
        groups: dict[str, list[str]] = {target.group: [] for target in self.targets}
        for target in sorted(self.targets, key=lambda target: target.order):
            groups[target.group].append(target.name)
        models, notes = settings.models(groups)
        lines = [
            "# yaml-language-server: $schema=./ecotone.schema.json",
            f"# Made from {_one_line(source)} by Ecotone.",
        ]
        for text in [*(f"not carried over: {text}" for text in self.dropped), *notes, *settings.notes]:
            lines.append(f"# {_one_line(text)}")
        lines.append("targets:")
        for target in self.targets:
            lines += [f"  # {_one_line(note)}" for note in target.notes]
            lines += _indented({target.name: target.plain})
        lines.append("models:")
        for name, behind in models.items():
            lines += _indented({name: {"targets": behind}})
        if settings.master_key:
            lines += _master_key(settings.master_key)
        lines += dump(settings.sections).splitlines() if settings.sections else []
        text = "\n".join(lines) + "\n"
        return Imported(text, tuple(re.findall(r"^ *# (.*)$", text, re.MULTILINE)[2:]))


class _Why(msgspec.Struct, frozen=True):
    """Why there is no value."""

    text: str


def place_of(url: str) -> str:
    """`edge` where the address can only be on the premises (loopback, private, a local name), else `cloud`."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        is_local = "." not in host or host.endswith((".local", ".lan", ".internal", ".home.arpa", ".localhost"))
        return "edge" if is_local and host else "cloud"
    return "cloud" if address.is_global else "edge"


def _is_address(url: str) -> bool:
    """Whether `parse` would take it."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return has_host and url.isprintable() and re.fullmatch(r"https?://[^\s?#@]{1,2000}", url) is not None


def _provider(params: dict[str, Any]) -> tuple[str, str]:
    """(provider, the model's own name)."""
    model = str(params["model"])
    if params.get("custom_llm_provider"):
        provider = str(params["custom_llm_provider"])
        return provider, model.removeprefix(f"{provider}/")
    provider, slash, rest = model.partition("/")
    if not slash:
        return "openai", model
    return provider, rest


def _figures(plain: dict[str, Any], params: dict[str, Any], info: dict[str, Any], notes: list[str]) -> None:
    """Prices and sizes."""
    price = {}
    for side in ("input", "output"):
        key = f"{side}_cost_per_token"
        value = _number(params.get(key, info.get(key)))
        if value is not None and 0 <= value < 1:
            price[f"{side}_usd_per_mtok"] = round(value * 1e6, 9)
        elif key in params or key in info:
            notes.append(f"not carried over: {key} is not a price in US dollars")
    if price:
        plain["price"] = price
    slots = _number(params.get("max_parallel_requests"))
    if slots is not None and 1 <= slots <= 100_000:
        plain["slots"] = int(slots)
    context = _number(info.get("max_input_tokens"))
    if context is not None and 1 <= context <= 100_000_000:
        plain["context_tokens"] = int(context)


def _left_out(said: dict[str, Any], carried: Iterable[str], prefix: str) -> list[str]:
    return [
        f"not carried over: {prefix}{key}" + (f" ({_WHY_NOT[key]})" if key in _WHY_NOT else "")
        for key in said
        if key not in carried
    ]


def _master_key(master_key: str) -> list[str]:
    if master_key.startswith(_ENV) and _is_variable(master_key.removeprefix(_ENV)):
        return [f"keys: {{master: 'env:{master_key.removeprefix(_ENV)}'}}"]
    return ["# master_key, as its SHA-256", f"keys: {{master: '{digest(master_key)}'}}"]


def _indented(plain: dict[str, Any]) -> list[str]:
    return [f"  {line}" for line in dump(plain).splitlines()]


def _one_line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:300]


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper().lstrip("0123456789_") or "TARGET"


def _is_variable(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < 1e15 else None


def _plain(node: document.Node) -> Any:
    """A node as plain values; scalars stay text, but for an empty one."""
    if isinstance(node, document.Mapping):
        return {key: _plain(value) for key, (_, value) in node.entries.items()}
    if isinstance(node, document.Sequence):
        return [_plain(item) for item in node.items]
    return None if node.is_plain and node.text in ("", "~", "null", "None") else node.text
