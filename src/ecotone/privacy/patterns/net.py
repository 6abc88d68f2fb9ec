"""Addresses of the net that are not mostly digits: e-mail, handles, IPv6, hardware addresses."""

from __future__ import annotations

import re

from ecotone.privacy.patterns.context import Words
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit

_LOCAL_MAX = 64
_LOCAL = Form(r"[A-Za-z0-9._%+'’-]+\Z")
_LOCAL_WIDE = Form(r"[\w.+-]+\Z")
_DOMAIN = Form(r"(?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w(])")
_FILES_WORDS = "png jpg jpeg gif svg webp css js ts py json html md txt h so dll"
_FILES = frozenset(_FILES_WORDS.split())
_SERVICES = frozenset(("git", "hg", "svn"))
"""Names in front of @ that are a program's, not a person's: `git@github.com:org/repo`."""

_SPELLED = Form(
    r"[A-Za-z0-9._%+-]{1,64} ?[(\[{<] ?(?:at|@|arroba|chez|ät) ?[)\]}>] ?[A-Za-z0-9-]{1,63}"
    r"(?: ?(?:[(\[{<] ?(?:dot|punkt|punto|point|\.) ?[)\]}>]|\.) ?[A-Za-z0-9-]{2,63}){1,4}",
    re.IGNORECASE,
)
_HANDLE = Form(r"@([A-Za-z0-9][A-Za-z0-9_.-]{1,38}[A-Za-z0-9_]|[A-Za-z0-9_]{3,40})(?![\w(@/])")
# Words after @ that address nobody: broadcast words, and tags of doc comments and decorators.
_NOBODY_WORDS = (
    "everyone here channel all team media import param params return returns throws throw author since see "
    "version override property staticmethod classmethod abstractmethod dataclass test deprecated link code "
    "todo type typedef example private public protected component injectable input output entity table column "
    "id autowired bean service controller repository app pytest fixture patch mock click cached cache wraps "
    "contextmanager overload final interface keyframes include extend mixin font-face supports charset "
    "namespace layer tailwind apply default description brief details note ref internal types angular babel "
    "latest next"
)
_NOBODY = frozenset(_NOBODY_WORDS.split())
_SAID = Form(
    r"[A-Za-z0-9][A-Za-z0-9._+-]{0,40}(?: dot [A-Za-z0-9]{1,20}){0,2} at "
    r"(?:[A-Za-z0-9-]{1,40} dot ){1,3}[A-Za-z]{2,6}\b",
    re.IGNORECASE,
)
_SPACED = Form(
    r"([A-Za-z0-9._+-]{1,64}) @ [A-Za-z0-9-]{1,40}(?: ?\. ?[A-Za-z0-9-]{1,40}){0,2} ?\. ?(?:com|org|net|edu|gov|io"
    r"|co|de|fr|es|it|nl|uk|cn|in|br)\b"
)
_NAMED_HANDLE = Form(
    r"\b(?:user ?names?|user[_-]id|login(?: name)?|handle|screen ?name|nick(?:name)?|skype(?: id)?|telegram"
    r"|discord|insta(?:gram)?"
    r"|snap(?:chat)?|tik ?tok|twitter|github|linkedin|wechat(?: id)?|weixin|benutzername|nutzername|identifiant"
    r"|usuario|utente"
    r"|gebruikersnaam|ig|tg|twitch|reddit|steam|venmo|cash ?app|paypal|line id|kakao(?:talk)?(?: id)?)"
    r"(?: ?(?:handle|id|name|username|account|user))?"
    r"""(?:["']? ?([:：=]|is|=>|ist|est|es|è)|,? (?:@|(?=@)))[ \t]{0,2}"""
    r"""(["'“]?)@?(?:u/|live:)?([A-Za-z0-9][A-Za-z0-9_.#-]{2,40})(?![(\[\w])""",
    re.IGNORECASE,
)
_REDDIT = Form(r"u/([A-Za-z0-9_-]{3,20})(?![A-Za-z0-9_/-])")
_NAMED_HANDLE_ZH = Form(
    r"(?:微信|QQ|qq|用户名|账号名|昵称|支付宝|抖音|微博)(?:号|ID|id|账号)?"
    r"[：:是为 ]{1,3}@?([A-Za-z][A-Za-z0-9_.-]{4,30})"
)
HANDLE_WORDS = (
    rb"\buser ?names?\b|\buser[_-]id\b|\blogin\b|\bhandle\b|\bscreen ?name\b|\bnick(?:name)?\b|\bskype\b"
    rb"|\btelegram\b|\bdiscord\b"
    rb"|\binsta(?:gram)?\b|\bsnap(?:chat)?\b|\btik ?tok\b|\btwitter\b|\bgithub\b|\blinkedin\b|\bwechat\b"
    rb"|\bweixin\b|\bbenutzername\b"
    rb"|\bnutzername\b|\bidentifiant\b|\busuario\b|\butente\b|\bgebruikersnaam\b|\big\b|\btg\b|\btwitch\b"
    rb"|\breddit\b|\bsteam\b"
    rb"|\bu/|\bvenmo\b|\bcash ?app\b|\bpaypal\b|\bline id\b|\bkakao(?:talk)?\b"
)
SPELLED_WORDS = rb"\bdot (?:com|org|net|edu|io|co|de|fr|es|it|nl|uk|cn)\b|[(\[{<] ?(?:at|@|arroba|chez) ?[)\]}>]"

HEX_GATE = (
    r"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]|::[0-9A-Fa-f]|[0-9A-Fa-f]::"
    r"|[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
)
_MAC = Form(r"(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}")
_HEX_LEFT = Form(r"[0-9A-Fa-f:.-]*\Z")
_HEX_RUN = Form(r"[0-9A-Fa-f:]{2,39}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?")


class Net:
    """Finds addresses of the net. Built once."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def find(self, text: str) -> list[Hit]:
        """What stands around each `@` of the folded text."""
        hits: list[Hit] = []
        at = text.find("@")
        while at >= 0:
            hit = self._at(text, at)
            if hit is not None:
                hits.append(hit)
            at = text.find("@", at + 1)
        return hits

    def _at(self, text: str, at: int) -> Hit | None:
        domain = _DOMAIN.match(text, at + 1)
        front = max(0, at - _LOCAL_MAX)
        if domain is not None and at:
            local = _LOCAL.search(text, front, at) or _LOCAL_WIDE.search(text, front, at)
            if local is not None:
                if domain[1].lower() in _FILES or local.group() in _SERVICES:
                    return None
                start = local.start() + len(local.group()) - len(local.group().lstrip("'’.-%"))
                if any(c.isalnum() for c in text[start:at]):
                    return Hit(start, domain.end(), "email", 0.97)
        if text[at - 1 : at] == " " == text[at + 1 : at + 2]:
            spaced = [m for m in _SPACED.finditer(text, max(0, at - _LOCAL_MAX - 1), at + 128) if m.end(1) == at - 1]
            return Hit(spaced[0].start(), spaced[0].end(), "email", 0.8) if spaced else None
        return self._handle(text, at)

    def _handle(self, text: str, at: int) -> Hit | None:
        """`@name` where someone is spoken to or of, not where a program decorates."""
        found = _HANDLE.match(text, at)
        if found is None or found[1].lower() in _NOBODY or found[1].isdigit():
            return None
        left = text[max(0, at - 2) : at]
        if left and left[-1] not in " (（,:：，“\n\x1e" and left[-1] < "\u2e80":
            return None
        meaning, _ = self._words.before(text, at)
        named = meaning in ("handle", "mention", "phone")
        telling = "." not in found[1] and any(c in "_0123456789" for c in found[1])
        spoken = found[1].isalnum() and len(left) == 2 and left[1] == " " and (left[0].isalpha() or left[0] in ",:")
        # A decorator stands alone on its line.
        if found[1][0] == "_" or (left.strip(" ") in ("", "\n") and text[found.end() : found.end() + 1] == "\n"):
            return None
        if not (named or telling or spoken) or text[found.end() : found.end() + 2].lstrip(" ")[:1] == "=":
            return None
        return Hit(at, found.end(), "handle", 0.7)

    def hexed(self, text: str, start: int, end: int) -> Hit | None:
        """A hardware address or an IPv6 address around this span."""
        left = _HEX_LEFT.search(text, max(0, start - 20), start)
        first = left.start() if left is not None else start
        if first and (text[first - 1].isalnum() or text[first - 1] == "_"):
            return None
        mac = _MAC.match(text, first)
        if mac is not None and not _goes_on(text, mac.end()):
            return Hit(first, mac.end(), "mac", 0.9)
        found = _HEX_RUN.match(text, first)
        if found is None or _goes_on(text, found.end()):
            return None
        value = found.group().removesuffix(":") if not found.group().endswith("::") else found.group()
        meaning, _ = self._words.before(text, first)
        if not _ipv6(value, named=meaning == "ip", slice_like=first > 0 and text[first - 1] in "[,("):
            return None
        return Hit(first, first + len(value), "ip", 0.9)


def named_handle(text: str, start: int, end: int) -> Hit | None:
    """The handle behind the word at this span."""
    found = _NAMED_HANDLE.match(text, start)
    if found is None:
        found = _REDDIT.match(text, start)
        return None if found is None else Hit(found.start(1), found.end(1), "handle", 0.7)
    sign, quote, name = found[1], found[2], found[3].rstrip(".-")
    # `user_id = row.id` and `login = name` are a program's, unless quoted.
    if sign == "=" and not quote and ("." in name or text[found.start(1) - 1] == " "):
        return None
    if not any(c in "_.#0123456789" for c in name):
        return None
    return Hit(found.start(3), found.start(3) + len(name), "handle", 0.7)


def spelled_email(text: str, start: int, end: int) -> Hit | None:
    """The address around this `(at)` or in front of this `dot com`."""
    if text[start] in "dD":
        said = [m for m in _SAID.finditer(text, max(0, start - 90), end + 16) if m.end() >= end]
        return Hit(said[0].start(), said[0].end(), "email", 0.8) if said else None
    found = _SPELLED.search(text, max(0, start - _LOCAL_MAX), end + 128)
    return None if found is None else Hit(found.start(), found.end(), "email", 0.8)


def chinese_handles(text: str) -> list[Hit]:
    """Handles behind a Chinese word."""
    if not any(gate in text for gate in ("号", "信", "名", "QQ", "昵称", "支付宝", "抖音", "微博")):
        return []
    return [Hit(found.start(1), found.end(1), "handle", 0.7) for found in _NAMED_HANDLE_ZH.finditer(text)]


def _goes_on(text: str, at: int) -> bool:
    return at < len(text) and ((text[at].isalnum() and text[at] < "\u2e80") or text[at] == "_")


def _ipv6(value: str, *, named: bool, slice_like: bool) -> bool:
    """Eight groups, or `::` between at least two (fewer only when called an address; `[::2]` is a slice)."""
    groups = value.split(":")
    if any(len(g) > 4 for g in groups if "." not in g):
        return False
    filled = sum(1 for g in groups if g)
    if "::" not in value:
        return filled == 8
    if value.count("::") > 1 or filled > 7:
        return False
    if slice_like and not named:
        return filled >= 3
    return (filled >= 2 and any(c.isdigit() for c in value)) or value == "::1" or (named and filled >= 1)
