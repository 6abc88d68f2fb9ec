"""The catalogue keeps its own promises."""

from __future__ import annotations

import pytest

from ecotone.assets import catalogue
from ecotone.assets.reference import PypiRef, as_sha256
from ecotone.values import ConfigError


@pytest.mark.parametrize("entry", catalogue.entries().values(), ids=str)
def test_every_entry_is_pinned_licensed_and_understood(entry):
    assert as_sha256(entry.sha256) == entry.sha256
    assert entry.bytes > 0
    assert entry.context_tokens > 0
    assert entry.licence
    assert all(isinstance(ref, PypiRef) for ref in entry.parts())
    assert (entry.kind == "chat") == entry.has_chat_template
    assert entry.licence == "Apache-2.0" or entry.licence_note


def test_the_one_default_is_free_to_use():
    assert [entry.name for entry in catalogue.entries().values() if entry.is_default] == ["smollm2-135m"]
    assert catalogue.default().licence == "Apache-2.0"


def test_an_unknown_name_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match="Known: smollm2-135m") as caught:
        catalogue.find("gpt-9")
    assert caught.value.code == "asset.unknown"
