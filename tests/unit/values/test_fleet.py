"""What hub and sites tell each other is bounded, and makes sense."""

from __future__ import annotations

import msgspec
import pytest

from ecotone.values import ConfigError
from ecotone.values.fleet import REPORT_BYTES_MAX, Report, Terms, decode_report


def test_a_trial_may_not_have_to_end_before_it_may() -> None:
    assert Terms(hours_min=2, hours_max=2).hours_max == 2
    with pytest.raises(ValueError, match="cannot end before it may"):
        Terms(hours_min=2, hours_max=1)
    with pytest.raises(msgspec.ValidationError, match="cannot end before it may"):
        msgspec.json.decode(b'{"hours_min": 2, "hours_max": 1}', type=Terms)


def test_a_report_is_its_sites_and_bounded() -> None:
    raw = msgspec.json.encode(Report(site="clinic-1", seq=1, made_s=5.0))
    assert decode_report(raw, "clinic-1").seq == 1
    bad = {b"{": "can read", raw.replace(b'"seq":1', b'"words":1'): "can read", raw + b" " * REPORT_BYTES_MAX: "most"}
    for content, said in bad.items():
        with pytest.raises(ConfigError, match=said):
            decode_report(content, "clinic-1")
    with pytest.raises(ConfigError, match="who brings it"):
        decode_report(raw, "clinic-2")
