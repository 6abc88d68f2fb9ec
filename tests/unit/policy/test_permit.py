"""Permits: bound to bytes, target and origin, and only the mint can make one."""

from __future__ import annotations

import msgspec
import pytest

from ecotone.policy import Mint
from ecotone.values import Egress, Limit, Permit, Place, RefusalError, TargetSpec, binding

CLOUD = TargetSpec(name="big", at=Place.CLOUD, model="m")
EDGE = TargetSpec(name="small", at=Place.EDGE, model="m")
FREE = Limit(Egress.FREE, "free")


def permit(mint: Mint, body: bytes = b"x", limit: Limit = FREE, spec: TargetSpec = CLOUD) -> Permit:
    return mint.permit(request="req-1", spec=spec, origin="https://a:443", body=body, limit=limit)


def test_a_mint_knows_its_own() -> None:
    mint = Mint(b"k" * 32)
    assert mint.verify(permit(mint))


@pytest.mark.parametrize("field", ["request", "target", "origin", "digest", "transform", "rule"])
def test_no_field_can_be_changed(field: str) -> None:
    mint = Mint(b"k" * 32)
    assert not mint.verify(msgspec.structs.replace(permit(mint), **{field: "other"}))


def test_another_mint_does_not_know_it() -> None:
    assert not Mint(b"a" * 32).verify(permit(Mint(b"b" * 32)))


def test_fields_cannot_be_shifted_into_each_other() -> None:
    mint = Mint(b"k" * 32)
    real = permit(mint)
    shifted = msgspec.structs.replace(real, request=real.request + "\x1f" + real.target, target="")
    assert not mint.verify(shifted)


@pytest.mark.parametrize("egress", [Egress.NEVER, Egress.PSEUDONYMISE])
def test_no_permit_against_policy(egress: Egress) -> None:
    with pytest.raises(RefusalError, match=r"refused\.policy"):
        permit(Mint(b"k" * 32), limit=Limit(egress, "label secret"))


def test_pseudonymised_bytes_need_a_limit_that_says_so_and_the_name_of_their_transformation() -> None:
    mint, limit = Mint(b"k" * 32), Limit(Egress.PSEUDONYMISE, "label person", ("person",))
    made = mint.permit(
        request="r", spec=CLOUD, origin="https://a:443", body=b"x", limit=limit, transform="pseudonymise:1"
    )
    assert (made.transform, made.digest) == ("pseudonymise:1", binding("pseudonymise:1", b"x"))
    assert mint.verify(made)
    for transform in ("none", "other:1"):
        with pytest.raises(RefusalError):
            mint.permit(request="r", spec=CLOUD, origin="o", body=b"x", limit=limit, transform=transform)
    with pytest.raises(RefusalError):
        mint.permit(request="r", spec=CLOUD, origin="o", body=b"x", limit=FREE, transform="pseudonymise:1")


@pytest.mark.parametrize("egress", [Egress.FREE, Egress.PSEUDONYMISE])
def test_no_permit_before_all_detectors_have_looked(egress: Egress) -> None:
    transform = "none" if egress is Egress.FREE else "pseudonymise:1"
    limit = Limit(egress, "", (), is_open=True)
    with pytest.raises(RefusalError):
        Mint(b"k" * 32).permit(request="r", spec=CLOUD, origin="o", body=b"x", limit=limit, transform=transform)


def test_the_same_bytes_made_in_another_way_are_another_permit() -> None:
    assert binding("none", b"x") != binding("pseudonymise:1", b"x")


def test_no_permit_for_the_edge_where_none_is_needed() -> None:
    with pytest.raises(RefusalError):
        permit(Mint(b"k" * 32), spec=EDGE)


def test_a_short_secret_is_a_programming_error() -> None:
    with pytest.raises(AssertionError):
        Mint(b"short")
