"""Where an asset may rest."""

from __future__ import annotations

import pytest

from ecotone.access import Confinement, Good, Place, demand_hold, demand_rest, may_hold, may_rest, may_take
from ecotone.values import RefusalError

MODEL = Good("models/clinic-7b", ("eu",))
EU = Place("clinic-7", ("all", "clinics"), "eu")
US = Place("clinic-9", ("all", "clinics"), "us")
NOWHERE = Place("ship-1", ("all", "ships"), "")


def test_an_asset_rests_in_its_own_regions_and_a_region_that_is_not_known_is_none() -> None:
    assert may_rest(("eu", "ch"), "ch")
    assert may_rest((), "")
    for region in ("us", ""):
        answer = may_rest(("eu",), region)
        assert not answer
        assert "may only rest in eu" in answer.why
    demand_rest(("eu",), "eu", "models/a at the hub")
    with pytest.raises(RefusalError, match="models/a at the hub: it may only rest in eu") as found:
        demand_rest(("eu",), "us", "models/a at the hub")
    assert found.value.code == "hub.residency"


def test_residency_holds_whatever_else_is_said() -> None:
    rules = [Confinement(assets=("*",))]
    assert may_hold(EU, MODEL, rules)
    for place in (US, NOWHERE):
        with pytest.raises(RefusalError, match="models/clinic-7b at") as found:
            demand_hold(place, MODEL, rules)
        assert found.value.code == "hub.residency"


def test_a_confinement_is_about_its_assets_alone_and_one_of_several_is_enough() -> None:
    free, model = Good("models/open"), Good("models/clinic-7b")
    rules = [
        Confinement(assets=("models/clinic-*",), groups=("clinics",), regions=("eu",)),
        Confinement(assets=("models/clinic-*",), groups=("labs",)),
    ]
    assert may_hold(US, free, rules)
    assert may_hold(EU, model, rules)
    assert may_hold(Place("lab", ("labs",), ""), model, rules)
    for place in (US, NOWHERE, Place("x", ("clinics",), "")):
        answer = may_hold(place, model, rules)
        assert answer.code == "confined"
    with pytest.raises(RefusalError) as found:
        demand_hold(US, model, rules)
    assert found.value.code == "hub.confined"
    demand_hold(US, model)


def test_a_site_is_served_what_is_wished_there_and_may_be_there() -> None:
    assert may_take(EU, MODEL, "a" * 64, {"a" * 64})
    assert may_take(EU, MODEL, "a" * 64, {"b" * 64}).code == "not_wished"
    assert may_take(US, MODEL, "a" * 64, {"a" * 64}).code == "residency"
