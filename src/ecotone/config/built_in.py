"""The configuration of a site that has no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ecotone.config import check
from ecotone.config.document import Problem
from ecotone.config.parse import config_error
from ecotone.config.secrets import is_readable
from ecotone.config.tree import STARTER, Config, Target, UrlTarget
from ecotone.values import Place

CLOUD_URL: Final = "ECOTONE_CLOUD_URL"
CLOUD_KEY: Final = "ECOTONE_CLOUD_KEY"
CLOUD_MODEL: Final = "ECOTONE_CLOUD_MODEL"
CLOUD_REGION: Final = "ECOTONE_CLOUD_REGION"


def built_in(environ: Mapping[str, str]) -> Config:
    """The starter model as target `local`, on loopback, and a target `cloud` where the environment names one.

    `ECOTONE_CLOUD_KEY` is the key itself (it stands in the environment, so the tree refers to it there) or a
    reference, `env:NAME` or `file:PATH`.

    Raises:
        ConfigError: the environment names half a cloud target, or a wrong one.
    """
    targets: dict[str, Target] = {"local": STARTER}
    url, model = environ.get(CLOUD_URL, ""), environ.get(CLOUD_MODEL, "")
    if url or model:
        for name, value in ((CLOUD_URL, url), (CLOUD_MODEL, model)):
            if not value:
                other = CLOUD_MODEL if name == CLOUD_URL else CLOUD_URL
                raise config_error([Problem(name, f"missing: {other} is set, and a cloud target needs both")], _SOURCE)
        targets["cloud"] = _cloud(environ, url, model)
    config = Config(targets=targets)
    wrong = check.problems(config)
    if wrong:
        raise config_error(wrong, _SOURCE)
    return config


_SOURCE: Final = "environment"


def _cloud(environ: Mapping[str, str], url: str, model: str) -> UrlTarget:
    fields: dict[str, Any] = {"engine": "openai", "url": url, "model": model, "at": Place.CLOUD.value}
    key = environ.get(CLOUD_KEY, "")
    if key:
        fields["key"] = key if is_readable(key) else f"env:{CLOUD_KEY}"
    if environ.get(CLOUD_REGION):
        fields["region"] = environ[CLOUD_REGION]
    try:
        return msgspec.convert(fields, UrlTarget)
    except msgspec.ValidationError as error:
        names = {"url": CLOUD_URL, "model": CLOUD_MODEL, "key": CLOUD_KEY, "region": CLOUD_REGION}
        field = str(error).rpartition("$.")[2].rstrip("`")
        message = f"is not a {field} as the reference describes it (targets.*.{field})"
        raise config_error([Problem(names.get(field, CLOUD_URL), message)], _SOURCE) from error
