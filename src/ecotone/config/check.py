"""What no single key can tell: names that must exist, addresses that must be safe, and what is worth a note."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ecotone.config.build import join, meant, shown
from ecotone.config.document import Problem
from ecotone.config.hub import TARGET
from ecotone.config.protection import Rule
from ecotone.config.tree import Config, Model, UrlTarget
from ecotone.values import Place

_REFERRED: Final = ("file:", "pypi:", "hf:", "hub:")
_CARRIES_SECRET: Final = frozenset({
    "authorization", "proxy-authorization", "api-key", "x-api-key", "x-auth-token", "x-goog-api-key", "cookie",
})  # fmt: skip
_OURS: Final = frozenset({
    "host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
    "trailer", "expect", "accept-encoding",
})  # fmt: skip


def model_names(config: Config) -> Mapping[str, Model]:
    """The names that applications may ask for, in order.

    Without a `models` section: `auto` (all targets, in the order written) and each target's own model name. A local
    model that is named by a reference (`file:`, `pypi:` ...) goes by its target's name.
    """
    if config.models:
        return config.models
    behind: dict[str, list[str]] = {"auto": list(config.targets)}
    for name, target in config.targets.items():
        own = name if target.model.startswith(_REFERRED) else target.model
        if own != "auto":
            behind.setdefault(own, []).append(name)
    return MappingProxyType({name: Model(targets=tuple(targets)) for name, targets in behind.items()})


def problems(config: Config) -> list[Problem]:
    """Everything that is wrong with a tree whose single values are right."""
    return [Problem(path, message) for path, message in _problems(config)]


def _problems(config: Config) -> Iterator[tuple[str, str]]:
    yield from _listen(config)
    for name, target in config.targets.items():
        path = join("targets", name)
        if isinstance(target, UrlTarget):
            yield from _url(path, target)
            yield from _headers(path, target)
    yield from _models(config)
    for index, rule in enumerate(config.policy):
        yield from _rule(config, rule, f"policy[{index}]")
    yield from _hub(config)
    yield from _proxy(config)
    if config.breaker.open_s_max < config.breaker.open_s:
        yield "breaker.open_s_max", "is less than `open_s`; make it at least as long"


def _listen(config: Config) -> Iterator[tuple[str, str]]:
    address = config.listen.address
    if address == "localhost":
        return
    try:
        is_loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        yield "listen.address", f"{shown(address)} is not an IP address; write one, such as 127.0.0.1, ::1 or 0.0.0.0"
        return
    if not is_loopback and not config.keys:
        message = (
            f"{address} can be reached from other machines and no keys are set; add `keys: {{NAME: sha256:HEX}}` "
            "(`ecotone keys new NAME` prints the line) or listen on 127.0.0.1"
        )
        yield "listen.address", message


def _url(path: str, target: UrlTarget) -> Iterator[tuple[str, str]]:
    if target.url.startswith("unix:"):
        if target.at is Place.CLOUD:
            yield f"{path}.at", "cloud, but a socket on this machine is not in the cloud; write `at: edge`"
        return
    try:
        parts = urlsplit(target.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield f"{path}.url", f"is not an address: {error}"
        return
    if not host:
        yield f"{path}.url", "names no host; write it like https://api.example.com/v1"
    if parts.username is not None or parts.password is not None:
        yield f"{path}.url", "holds a user or password; take it out and use `key: env:NAME` or `headers`"
    if parts.query or parts.fragment:
        yield f"{path}.url", "holds a query or fragment; take it out: paths are added to the end of the address"
    if target.at is Place.EDGE and not target.public_address_is_ours and _is_public(parts):
        message = (
            f"edge, but {host} is a public address, and data that must stay would go there; write `at: cloud`, or "
            "`public_address_is_ours: true` if it belongs to these premises"
        )
        yield f"{path}.at", message
    price = target.price
    if price is not None and min(price.input_usd_per_mtok, price.output_usd_per_mtok) < 0:
        yield f"{path}.price", "is negative; give US dollars per million tokens"


def _hub(config: Config) -> Iterator[tuple[str, str]]:
    if config.hub is None:
        return
    if TARGET in config.targets:
        yield (
            join("targets", TARGET),
            "is what the hub is called in the ledger and in `policy`; take another name",
        )
    try:
        parts = urlsplit(config.hub.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield "hub.url", f"is not an address: {error}"
        return
    if not host:
        yield "hub.url", "names no host; write it like https://hub.example.org"
    if parts.username is not None or parts.query or parts.fragment:
        yield "hub.url", "holds a user, a query or a fragment; a site proves who it is by its key: take it out"


def _proxy(config: Config) -> Iterator[tuple[str, str]]:
    if config.proxy is None:
        return
    try:
        parts = urlsplit(config.proxy.url)
        is_whole = bool(parts.hostname) and bool(parts.port)
    except ValueError:
        is_whole = False
    if not is_whole:
        yield "proxy.url", "names no host, or no port; write it like http://proxy.example.org:3128"


def _is_public(parts: SplitResult) -> bool:
    try:
        return ipaddress.ip_address(parts.hostname or "").is_global
    except ValueError:
        return False


def _headers(path: str, target: UrlTarget) -> Iterator[tuple[str, str]]:
    for name, value in target.headers.items():
        lower = name.lower()
        where = join(f"{path}.headers", name)
        if lower in _OURS or lower.startswith("ecotone-"):
            yield where, "is set by Ecotone itself; leave it out"
        elif lower in _CARRIES_SECRET and not value.startswith(("env:", "file:")):
            yield where, "a secret must not stand in the file; write `env:NAME` or `file:PATH`"


def _models(config: Config) -> Iterator[tuple[str, str]]:
    for name, model in config.models.items():
        path = join("models", name)
        for index, target in enumerate(model.targets):
            where = f"{path}.targets[{index}]"
            if target not in config.targets:
                yield where, _unknown("target", target, config.targets, "targets")
            elif target in model.targets[:index]:
                yield where, f"{target!r} stands twice in the list; keep one"
        yield from _learning(config, model, path)


def _learning(config: Config, model: Model, path: str) -> Iterator[tuple[str, str]]:
    judge = model.compare.judge
    if judge is not None and judge not in config.targets:
        yield f"{path}.compare.judge", _unknown("target", judge, config.targets, "targets")
    if model.compare.check == "judge" and judge is None:
        yield f"{path}.compare.judge", "is missing: say which target judges"
    for word, is_set in (("cascade", model.cascade), ("advance", model.advance == "auto")):
        if is_set and model.quality is None:
            yield (
                f"{path}.quality",
                f"is missing: `{word}` needs a promise to keep, such as `quality: {{loss_max: 0.02}}`",
            )


def _rule(config: Config, rule: Rule, path: str) -> Iterator[tuple[str, str]]:
    when = rule.when
    if when.key is not None and when.key not in config.keys:
        yield f"{path}.when.key", _unknown("key", when.key, config.keys, "keys")
    is_hub = config.hub is not None and when.target == TARGET
    if when.target is not None and when.target not in config.targets and not is_hub:
        yield f"{path}.when.target", _unknown("target", when.target, config.targets, "targets")
    names = model_names(config)
    if when.model is not None and when.model not in names:
        yield f"{path}.when.model", _unknown("model name", when.model, names, "models")


def _unknown(what: str, word: str, words: Mapping[str, object], section: str) -> str:
    known = ", ".join(list(words)[:20]) or "none"
    return f"no {what} {shown(word)} in `{section}`{meant(word, words)}; there: {known}"
