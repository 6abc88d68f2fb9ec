"""Street addresses in Chinese, and number plates."""

from __future__ import annotations

from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
# Source: GA 36-2018; the last sign may be a word (police, learner, Hong Kong, Macau, trailer).
_PLATE = Form(
    rf"[{_PROVINCES}][A-HJ-NP-Z][·•.・ -]?(?:[A-HJ-NP-Z0-9]{{5,6}}|[A-HJ-NP-Z0-9]{{4}}[警学港澳挂使领])(?![A-Za-z0-9])"
)

_SIGN = "\u4e00-\u9fffA-Za-z0-9"
_NUMBER = Form(r"[0-9一二三四五六七八九十百]{1,5}(?:-[0-9]{1,4})?[号弄栋幢座]")
_ROAD = "路街巷道弄村里胡同镇乡园区段苑"
_FRONT = Form(rf"[{_SIGN}]{{3,44}}\Z")
# What stands in front of an address and is no part of it; the last one counts.
_LEAD = Form(r".*(?:地址|住址|住在|家住|位于|寄到|送到|寄往|送至|寄至|搬到|来自|前往|住|在|到|至|于|是|为|址)")
_BEHIND = Form(
    rf"(?:院|楼)?(?:[{_SIGN}]{{2,12}}?(?:大厦|小区|大楼|广场|花园|公寓|中心|家园|写字楼|大院))?"
    r"(?:[A-Za-z]?[0-9一二三四五六七八九十]{0,5}[A-Za-z]?(?:栋|幢|座|号楼|单元|楼|层|室|号|门|户)[，,]?){0,5}"
)
_PROVINCE = Form(r"[\u4e00-\u9fff]{2,3}(?:省|自治区)")
_RUN = Form(rf"[{_SIGN}]{{4,60}}")
_ENDS = "镇乡路街道村号楼室门口厦园"


def addresses(text: str) -> list[Hit]:
    """Addresses: a road and a number, or everything from the province down."""
    hits = []
    if any(sign in text for sign in "号弄栋幢座"):
        for number in _NUMBER.finditer(text):
            start = _start(text, number.start())
            if start < number.start():
                behind = _BEHIND.match(text, number.end())
                end = number.end() if behind is None else behind.end()
                hits.append(Hit(start, end, "street_address", 0.6))
    if "省" in text or "自治区" in text:
        hits += [hit for hit in (_from_province(text, found.start()) for found in _PROVINCE.finditer(text)) if hit]
    return hits


def _start(text: str, number: int) -> int:
    """Where the address ends whose number stands here begins; `number` where no road stands in front of it."""
    front = _FRONT.search(text, max(0, number - 44), number)
    if front is None or not any(sign in _ROAD for sign in text[max(front.start(), number - 4) : number]):
        return number
    lead = _LEAD.match(text, front.start(), number - 3)
    return front.start() if lead is None else lead.end()


def _from_province(text: str, start: int) -> Hit | None:
    found = _RUN.match(text, start)
    if found is None:
        return None
    run = found.group()
    end = max(run.rfind(sign) for sign in _ENDS) + 1
    town = next((at for at, sign in enumerate(run) if sign in "市州" and at > 2), len(run))
    part = next((at for at, sign in enumerate(run) if sign in "区县旗市" and at > town), len(run))
    return Hit(start, start + end, "street_address", 0.6) if end > part else None


def plates(text: str) -> list[Hit]:
    """Number plates; a word of five capitals alone is none."""
    return [
        Hit(found.start(), found.end(), "vehicle_plate", 0.9)
        for found in _PLATE.finditer(text)
        if any(c.isdigit() for c in found.group())
    ]
