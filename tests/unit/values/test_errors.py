"""Errors carry what their reader needs."""

from __future__ import annotations

import pytest

from ecotone.values import ConfigError, EcotoneError, RequestError


def test_an_error_has_the_status_of_its_class_unless_told_otherwise() -> None:
    assert RequestError("a.b", "m").status == 400
    assert RequestError("a.b", "m", status=404).status == 404
    assert str(RequestError("a.b", "m")) == "a.b: m"


def test_a_configuration_error_names_every_problem_at_least_its_own() -> None:
    assert ConfigError("config", "m").problems == ("m",)
    assert ConfigError("config", "m", problems=("a: x", "b: y")).problems == ("a: x", "b: y")


@pytest.mark.parametrize("kind", EcotoneError.__subclasses__())
def test_every_error_can_be_told_to_a_caller(kind: type[EcotoneError]) -> None:
    assert 400 <= kind("a.b", "m").status <= 599
    assert kind.openai_type.endswith("_error")
