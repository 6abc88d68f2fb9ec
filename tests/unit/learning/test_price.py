"""The price moves towards the share of calls that the cloud should get."""

import pytest

from ecotone.learning.price import Price


def test_it_settles_where_the_cloud_gets_its_share() -> None:
    price = Price()
    clouds = 0
    for request in range(40_000):
        gap = (request * 0.618034) % 1.0
        is_cloud = gap > price.value
        clouds += is_cloud and request >= 20_000
        price.move(is_cloud=is_cloud, cloud_share=0.3, ceiling=1.0)
    assert clouds / 20_000 == pytest.approx(0.3, abs=0.02)


def test_it_does_not_wind_up_above_what_the_promise_allows() -> None:
    price = Price(0.5)
    for _ in range(100_000):
        price.move(is_cloud=True, cloud_share=0.1, ceiling=0.1)
    assert price.value == 0.1


def test_it_stays_in_its_bounds() -> None:
    price = Price(-5.0)
    price.move(is_cloud=False, cloud_share=1.0, ceiling=1.0)
    assert price.value >= -1.0 - 1e-3
    assert Price(7.0).value == 1.0
    with pytest.raises(ValueError, match="finite"):
        Price(float("nan"))
