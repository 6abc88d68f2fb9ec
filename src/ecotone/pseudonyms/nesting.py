"""Where in a text something stands: inside a link, or how deep inside of JSON's strings. Pure."""

from __future__ import annotations

import re
from typing import Final

UNREAD_CHARS_MAX: Final = 65536
"""Text that is put by until somebody asks about it."""
_START_CHARS_MAX: Final = 64
"""Longest beginning of a link, such as `background = "https:`, before it is one for sure."""

_LINK_CHARS_MAX: Final = 1024
"""Longest open link that is kept as it is."""
_LINK_DEPTH_MAX: Final = 64
"""Most open parentheses of a link's target that are counted. Precedent: CommonMark asks for 32."""
BACKSLASH: Final = "\\"
_BLANKS: Final = re.compile(r"\s{3,}", re.ASCII)

_MAY_BE_LINK: Final = re.compile(
    r"//|\]\(|www\.|src|href|action|poster|background|data|cite|url\(|\\\\|<[a-z][a-z0-9+.\-]*:",
    re.ASCII | re.IGNORECASE,
)
_QUOTE: Final = "\x00"
"""A quote that was escaped in JSON: it ends what such a quote began, and not the string that it stands in."""

# Blanks are ASCII's alone: any other one is a part of a link (CommonMark 0.31, 6.3).
_LINK: Final = re.compile(
    r"""
    (?P<target>\]\(\s*(?!<|\s|mailto:|tel:)\S*)                     # [a](https://x/y
  | \]\(\s*<[^>\n]*                                               # [a](<https://x y
  | \b(?:src|href|srcset|action|formaction|poster|background|data|cite)\s*=\s*
      (?:(?P<mark>["'\x00])(?!mailto:|tel:)(?:(?!(?P=mark)).)*|(?!["'\x00])[^\s>]*)
  | \burl\(\s*(?:"[^"]*|'[^']*|[^)\s]*)
  | <(?!mailto:|tel:)[a-z][a-z0-9+.\-]*:[^>\n]*                    # <https://x y
  | (?P<quote>["'\x00])(?:[a-z][a-z0-9+.\-]{0,20}:)?(?://|\\\\)(?:(?!(?P=quote))[^\n])*
  | //[^\s<>]*
  | \bwww\.[^\s<>]*
    """,
    re.ASCII | re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_UNIT: Final = re.compile(r"(\\+)(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)


class Links:
    """Follows a text, however it is cut, and tells whether its end is inside of a link.

    A value that is restored inside of a URL or of an image's target leaves the site when somebody looks at the answer
    and a browser fetches what it points to.
    """

    __slots__ = ("_is_json", "_past", "_size")

    def __init__(self, *, is_json: bool) -> None:
        """`is_json`: the text is JSON's own, with escapes."""
        self._is_json = is_json
        self._past: list[str] = []
        self._size = 0

    def feed(self, text: str) -> None:
        """Takes a further piece."""
        self._past.append(text)
        self._size += len(text)
        if self._size > UNREAD_CHARS_MAX:
            self.is_open()

    def is_open(self) -> bool:
        """Whether what follows would be a part of a link: a URL, a link's or an image's target."""
        text = "".join(self._past)
        if self._is_json and "\\" in text:
            text = _UNIT.sub(_unescape, text)
        if _MAY_BE_LINK.search(text) is None:
            self._keep(text[-_START_CHARS_MAX:])
            return False
        text = _BLANKS.sub(_one_blank, text)
        link = _open_link(text)
        self._keep(link or text[-_START_CHARS_MAX:])
        return bool(link)

    def _keep(self, text: str) -> None:
        self._past = [text]
        self._size = 0


def _open_link(text: str) -> str:
    """The link that is open at the end of the text, shortened where it is long; empty where none is."""
    at = 0
    while (found := _LINK.search(text, at)) is not None:
        end, depth = found.end(), 0
        if found["target"] is not None:
            end, depth = _target_end(text, found.start() + 2, end)
        if end == len(text):
            return _shortened(text[found.start() :], depth)
        at = max(end, found.start() + 1)
    return ""


def _shortened(link: str, depth: int) -> str:
    """As much of a link as tells what ends it: what has not ended it so far does not matter."""
    if len(link) <= _LINK_CHARS_MAX:
        return link
    if depth:
        return f"](x{'(' * min(depth - 1, _LINK_DEPTH_MAX)}{'x' if link[-1] != BACKSLASH else BACKSLASH}"
    return link[:_LINK_CHARS_MAX]


def _target_end(text: str, begin: int, end: int) -> tuple[int, int]:
    """(where the parenthesis of a link's target is closed, else `end`; how many are open there).

    Source: CommonMark 0.31, 6.3.
    """
    depth = 1
    at = begin
    while at < end:
        char = text[at]
        if char == BACKSLASH:
            at += 1
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at, 0
        at += 1
    return end, depth


def _one_blank(found: re.Match[str]) -> str:
    return "\n" if "\n" in found[0] else " "


def _unescape(found: re.Match[str]) -> str:
    """What an escape stands for, or, where that depends on the depth, what does not end a link."""
    if found[2]:
        return chr(int(found[2], 16))
    if found[3] == '"':
        return _QUOTE
    return "\n" if found[3] in "nr" and len(found[1]) == 1 else found[3]


class Depth:
    """Follows the source of JSON, such as the arguments of a tool call, however it is cut.

    Attributes:
        depth: 0 outside of strings, 1 in a string, 2 in a string of the JSON that a string holds, and so on.
    """

    __slots__ = ("_is_new", "_slashes", "depth", "inner")

    def __init__(self) -> None:
        self.depth = 0
        self.inner: list[bool] = []  # for each depth, whether the string there holds JSON itself
        self._slashes = 0
        self._is_new = False

    def feed(self, source: str) -> None:
        """Takes a further piece."""
        if not self._is_new and '"' not in source and "\\" not in source:
            self._slashes = 0
            return
        for char in source:
            if char == "\\":
                self._slashes += 1
                continue
            if char == '"':
                self._quote()
            elif self._is_new and not char.isspace():
                self.inner[-1] = char in "{["
                self._is_new = False
            self._slashes = 0

    def _quote(self) -> None:
        """A quote closes the string it stands in, opens one in the JSON that this string holds, or is text.

        At depth d a string's own quotes have 2^(d-1) - 1 backslashes before them, and a backslash of its text is 2^d.
        """
        self._is_new = False
        for depth in range(1, self.depth + 1):
            if self._slashes % (1 << depth) == (1 << (depth - 1)) - 1:
                self.depth = depth - 1
                del self.inner[self.depth :]
                return
        is_open = self.depth == 0 or self.inner[-1]
        if is_open and self._slashes % (2 << self.depth) == (1 << self.depth) - 1:
            self.depth += 1
            self.inner.append(False)
            self._is_new = True
