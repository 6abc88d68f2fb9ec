"""Inspect only adds labels, and fails closed."""

from __future__ import annotations

import msgspec

from ecotone.privacy import UNKNOWN, inspect
from ecotone.values import Endpoint, Features, Request

REQUEST = Request(
    id="r", endpoint=Endpoint.CHAT, model="m", body=b"{}", is_stream=False, is_usage_asked=False,
    features=Features(1), received_at_s=0.0, labels=("place",),
)  # fmt: skip


def raising(request: Request) -> tuple[str, ...]:
    raise ValueError("made")


def test_without_detectors_the_callers_labels_stand() -> None:
    assert inspect(REQUEST, (), {}).labels == ("place",)


def test_a_detector_only_adds() -> None:
    found = inspect(REQUEST, ("one",), {"one": lambda request: ("card", "place")})
    assert found.labels == ("card", "place")


def test_a_missing_or_failing_detector_means_unknown() -> None:
    for installed in ({}, {"one": raising}):
        found = inspect(msgspec.structs.replace(REQUEST, labels=()), ("one",), installed)
        assert found.labels == (UNKNOWN,)
        assert found.missing == ("one",)
