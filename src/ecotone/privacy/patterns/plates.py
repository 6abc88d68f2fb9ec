"""Number plates of vehicles in China."""

from __future__ import annotations

from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
# Source: GA 36-2018; the last sign may be a word (police, learner, Hong Kong, Macau, trailer).
_PLATE = Form(
    rf"[{_PROVINCES}][A-HJ-NP-Z][·•.・ -]?(?:[A-HJ-NP-Z0-9]{{5,6}}|[A-HJ-NP-Z0-9]{{4}}[警学港澳挂使领])(?![A-Za-z0-9])"
)


def chinese(text: str) -> list[Hit]:
    """The plates in a text; a word of five capitals alone is none."""
    return [
        Hit(found.start(), found.end(), "vehicle_plate", 0.9)
        for found in _PLATE.finditer(text)
        if any(c.isdigit() for c in found.group())
    ]
