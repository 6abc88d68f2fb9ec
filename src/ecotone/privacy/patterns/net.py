"""Addresses of the net that are not mostly digits: e-mail, handles, IPv6, hardware addresses."""

from __future__ import annotations

import re

import re2

from ecotone.privacy.patterns.context import Words
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit
from ecotone.privacy.patterns.numbers import options

_LOCAL_MAX = 64
_LOCAL = Form(r"[A-Za-z0-9._%+'’&/=?^{|}~!#$*-]+\Z")
_LOCAL_WIDE = Form(r"[\w.+-]+\Z")
_DOMAIN = Form(r"(?:[\w-]{1,63}\.){1,8}([^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w(])")
_FILES = frozenset("png jpg jpeg gif svg webp css js ts py json html md txt h so dll".split())
_SERVICES = frozenset(("git", "hg", "svn"))
"""Names in front of @ that are a program's, not a person's: `git@github.com:org/repo`."""

_SPELLED = Form(
    r"[A-Za-z0-9._%+-]{1,64} ?[(\[{<] ?(?:at|@|arroba|chez|ät) ?[)\]}>] ?[A-Za-z0-9-]{1,63}"
    r"(?: ?(?:[(\[{<] ?(?:dot|punkt|punto|point|\.) ?[)\]}>]|\.) ?[A-Za-z0-9-]{2,63}){1,4}",
    re.IGNORECASE,
)
_SPELLED_GATE = rb"(?i)[(\[{<] ?(?:at|@|arroba|chez) ?[)\]}>]"

_HANDLE = Form(r"@([A-Za-z0-9][A-Za-z0-9_.-]{1,38}[A-Za-z0-9_]|[A-Za-z0-9_]{3,40})(?![\w(@/])")
# Words after @ that address nobody: broadcast words, and tags of doc comments and decorators.
_NOBODY = frozenset(
    "everyone here channel all team media import param params return returns throws throw author since see version override "
    "property staticmethod classmethod abstractmethod dataclass test deprecated link code todo type typedef example private "
    "public protected component injectable input output entity table column id autowired bean service controller repository "
    "app pytest fixture patch mock click cached cache wraps contextmanager overload final interface keyframes include extend "
    "mixin font-face supports charset namespace layer tailwind apply default description brief details note ref internal "
    "types angular babel latest next".split()
)
_NAMED_HANDLE = Form(
    r"\b(?:user ?names?|user[_-]id|login(?: name)?|handle|screen ?name|nick(?:name)?|skype(?: id)?|telegram|discord|insta(?:gram)?"
    r"|snap(?:chat)?|tik ?tok|twitter|github|linkedin|wechat(?: id)?|weixin|benutzername|nutzername|identifiant|usuario|utente"
    r"|gebruikersnaam|ig|tg|twitch|reddit|steam|venmo|cash ?app|paypal|line id|kakao(?:talk)?(?: id)?)"
    r"(?: ?(?:handle|id|name|username|account|user))?"
    r"(?:[\"']? ?(?:[:：=]|is|=>|ist|est|es|è)|,? (?:@|(?=@)))[ \t]{0,2}[\"'“]?@?"
    r"(u/)?([A-Za-z0-9][A-Za-z0-9_.#-]{2,40})",
    re.IGNORECASE,
)
_NAMED_HANDLE_ZH = Form(
    r"(?:微信|QQ|qq|用户名|账号名|昵称|支付宝|抖音|微博)(?:号|ID|id|账号)?[：:是为 ]{1,3}@?([A-Za-z][A-Za-z0-9_.-]{4,30})"
)
_NAMED_GATE = (
    rb"(?i)\b(?:user ?names?|user[_-]id|login|handle|screen ?name|nick|nickname|skype|telegram|discord|insta|instagram|snap"
    rb"|snapchat|tik ?tok|twitter|github|linkedin|wechat|weixin|benutzername|nutzername|identifiant|usuario|utente"
    rb"|gebruikersnaam|ig|tg|twitch|reddit|steam|venmo|cash ?app|paypal|line id|kakao|kakaotalk)\b[^\x1e\n.]{0,12}[:=@s]"
)

_HEX_GATE = (
    rb"[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]|::[0-9A-Fa-f]|[0-9A-Fa-f]::"
    rb"|[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-[0-9A-Fa-f]{2}-|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}"
)
_MAC = Form(r"(?:[0-9A-Fa-f]{2}([:-]))(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|(?:[0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}")
_HEX_LEFT = Form(r"[0-9A-Fa-f:.-]*\Z")
_HEX_RUN = Form(r"[0-9A-Fa-f:]{2,39}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?")


class Net:
    """Finds addresses of the net. Built once."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._hex = re2.compile(_HEX_GATE, options())
        self._spelled = re2.compile(_SPELLED_GATE, options())
        self._named = re2.compile(_NAMED_GATE, options())

    def find(self, text: str, raw: bytes) -> list[Hit]:
        """The hits in the folded text; `raw` is the same as Latin-1."""
        hits: list[Hit] = []
        at = text.find("@")
        while at >= 0:
            hit = self._at(text, at)
            if hit is not None:
                hits.append(hit)
            at = text.find("@", at + 1)
        hits += self._handles(text, raw)
        for m in self._hex.finditer(raw):
            hit = self._hexed(text, m.start(), m.end())
            if hit is not None:
                hits.append(hit)
        if "(" in text or "[" in text:
            for m in self._spelled.finditer(raw):
                found = _SPELLED.search(text, max(0, m.start() - _LOCAL_MAX), m.end() + 128)
                if found is not None:
                    hits.append(Hit(found.start(), found.end(), "email", 0.8))
        return hits

    def _at(self, text: str, at: int) -> Hit | None:
        domain = _DOMAIN.match(text, at + 1)
        front = max(0, at - _LOCAL_MAX)
        if domain is not None and at:
            local = _LOCAL.search(text, front, at) or _LOCAL_WIDE.search(text, front, at)
            if local is not None:
                if domain[1].lower() in _FILES or local.group() in _SERVICES:
                    return None
                start = local.start() + len(local.group()) - len(local.group().lstrip("'’.-=?/{|*&#"))
                if start < at:
                    return Hit(start, domain.end(), "email", 0.97)
        return self._handle(text, at)

    def _handle(self, text: str, at: int) -> Hit | None:
        """`@name` where someone is spoken to or of, not where a program decorates."""
        found = _HANDLE.match(text, at)
        if found is None or found[1].lower() in _NOBODY or found[1].isdigit():
            return None
        left = text[max(0, at - 2) : at]
        if left and left[-1] not in " (（,:：，\"'“\n\x1e" and left[-1] < "\u2e80":
            return None
        meaning, _ = self._words.before(text, at)
        telling = meaning in ("handle", "phone") or any(c in "_0123456789" for c in found[1])
        spoken = (
            len(left) == 2
            and left[1] == " "
            and (left[0].isalpha() or left[0] in ",:")
            and text[found.end() :][:1] not in ("=",)
        )
        if not (telling or spoken) or "." in found[1] and not telling:
            return None
        return Hit(at, found.end(), "handle", 0.7)

    def _handles(self, text: str, raw: bytes) -> list[Hit]:
        hits = []
        for m in self._named.finditer(raw):
            found = _NAMED_HANDLE.match(text, m.start())
            if found is not None and _is_name(found[2]):
                hits.append(Hit(found.start(2), found.end(2), "handle", 0.7))
        if not text.isascii() and ("号" in text or "信" in text or "QQ" in text or "名" in text or "昵称" in text):
            hits += [Hit(f.start(1), f.end(1), "handle", 0.7) for f in _NAMED_HANDLE_ZH.finditer(text)]
        return hits

    def _hexed(self, text: str, start: int, end: int) -> Hit | None:
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


def _goes_on(text: str, at: int) -> bool:
    return at < len(text) and (text[at].isalnum() and text[at] < "\u2e80" or text[at] == "_")


def _is_name(name: str) -> bool:
    """A name that someone chose, not a word of the sentence."""
    return any(c in "_.#0123456789" for c in name.strip("."))


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
    return filled >= 2 and any(c.isdigit() for c in value) or value == "::1" or (named and filled >= 1)
