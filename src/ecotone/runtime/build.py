"""From a configuration to the targets, names and rules that the corridor works with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import msgspec

from ecotone import config as settings
from ecotone.config.link import days, minutes
from ecotone.flow import ModelName, Waits
from ecotone.flow.breaker import BreakerSettings
from ecotone.flow.spend import Budgets
from ecotone.flow.windows import Window, Windows
from ecotone.policy import Policy, Rule
from ecotone.runtime.zones import offset
from ecotone.upstreams import EgressDoor, Options, PremisesDoor, Proxy, UrlTarget
from ecotone.values import Place, Price, TargetSpec


def policy(config: settings.Config) -> tuple[Policy, str]:
    """The policy, and its version: a digest of everything that decides on egress."""
    labels = {name: label.egress for name, label in config.privacy.labels.items()}
    rules = tuple(
        Rule(
            name=f"policy[{index}]",
            egress=rule.egress,
            key=rule.when.key,
            label=rule.when.label,
            model=rule.when.model,
            target=rule.when.target,
            to_region=rule.when.to_region,
        )
        for index, rule in enumerate(config.policy)
    )
    version = hashlib.sha256(msgspec.json.encode((config.privacy, config.policy), order="deterministic")).hexdigest()
    return Policy(labels=labels, rules=rules), version[:12]


def names(config: settings.Config) -> dict[str, ModelName]:
    """Model names, each with its targets in order and its mode."""
    return {
        name: ModelName(
            name,
            model.targets,
            model.mode,
            model.handover == "continue",
            check=model.compare.check,
            judge=model.compare.judge or "",
        )
        for name, model in settings.model_names(config).items()
    }


def budgets(config: settings.Config) -> Budgets:
    """The day's budgets, in dollars and bytes, and the windows of a metered link.

    Raises:
        ConfigError: the time zone is not known here.
    """
    return Budgets(
        config.budgets.cloud_usd_per_day,
        _bytes(config.budgets.egress_mb_per_day),
        _windows(config),
        config.link.interactive == "refused",
    )


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else int(megabytes * 1_000_000)


def _windows(config: settings.Config) -> Windows:
    given = config.link.windows
    windows = [Window(days(one.days), minutes(one.from_), minutes(one.to), _bytes(one.egress_mb)) for one in given]
    return Windows(windows, offset(config.link.timezone))


def waits(config: settings.Config) -> Waits:
    """Limits on waiting."""
    timeouts = config.timeouts
    return Waits(
        first_byte_s=timeouts.first_byte_s,
        whole_s=timeouts.whole_s,
        idle_s=timeouts.idle_s,
        total_s=timeouts.total_s,
        keep_alive_s=timeouts.keep_alive_comment_s,
        look_s=config.privacy.look_s,
        answer_bytes_max=config.limits.answer_bytes_max,
    )


def breaker_settings(config: settings.Config) -> BreakerSettings:
    """When breakers open."""
    return BreakerSettings(config.breaker.failures, config.breaker.open_s, config.breaker.open_s_max)


def proxy_for(url: str, config: settings.Config, secret: Callable[[str, str], str]) -> Proxy | None:
    """The proxy through which a place in the cloud is reached; None: it is reached directly.

    Args:
        secret: Resolves a reference; takes it and its path in the tree.

    Raises:
        ConfigError: the credentials cannot be read.
    """
    given = config.proxy
    host = (urlsplit(url).hostname or "").lower()
    if given is None or any(host == one.lstrip(".") or host.endswith(f".{one.lstrip('.')}") for one in given.direct):
        return None
    parts = urlsplit(given.url)
    credentials = "" if given.credentials is None else secret(given.credentials, "proxy.credentials")
    return Proxy(host=parts.hostname or "", port=parts.port or 80, credentials=credentials)


def url_target(
    name: str,
    target: settings.UrlTarget,
    config: settings.Config,
    doors: tuple[EgressDoor, PremisesDoor],
    secret: Callable[[str, str], str],
) -> UrlTarget:
    """A target behind a URL.

    Args:
        secret: Resolves a reference; takes it and its path in the tree.

    Raises:
        ConfigError: a secret cannot be read, or the URL, a header or the CA file cannot be used.
    """
    path = f"targets.{name}"
    spec = TargetSpec(
        name=name,
        at=target.at,
        model=target.model,
        price=target.price or Price(),
        region=target.region,
        capabilities=None if target.capabilities is None else frozenset(target.capabilities),
        endpoints=tuple(endpoint.value for endpoint in target.endpoints),
        context_tokens=target.context_tokens,
        slots=target.slots,
        queue_max=target.queue_max,
        surrogates=target.surrogates,
    )
    headers = {
        header: secret(value, f"{path}.headers.{header}") if settings.secrets.is_readable(value) else value
        for header, value in target.headers.items()
    }
    return UrlTarget(
        spec,
        target.url,
        doors[0] if target.at is Place.CLOUD else doors[1],
        key=None if target.key is None else secret(target.key, f"{path}.key"),
        headers=headers,
        options=Options(
            ask_usage=target.ask_usage,
            always_stream=target.always_stream,
            ca_file=target.ca_file,
            connect_timeout_s=config.timeouts.connect_s,
            answer_bytes_max=config.limits.answer_bytes_max,
            public_address_is_ours=target.public_address_is_ours,
            proxy=proxy_for(target.url, config, secret) if target.at is Place.CLOUD else None,
        ),
    )


def secret_reader(environ: Mapping[str, str], read_file: Callable[[str], bytes]) -> Callable[[str, str], str]:
    """Resolves references with this environment and these files."""

    def read(reference: str, path: str) -> str:
        return settings.secrets.resolve(reference, environ, read_file, path=path)

    return read
