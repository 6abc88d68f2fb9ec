"""Secrets with a form of their own: keys and tokens of known vendors, private keys, logins in addresses."""

from __future__ import annotations

import re

import re2

from ecotone.privacy.patterns.encoded import ENCODED_GATE, ENCODED_MIN, Text, decode, encoded_token
from ecotone.privacy.patterns.form import Form
from ecotone.privacy.patterns.hit import Hit
from ecotone.privacy.patterns.net import HEX_GATE, Net
from ecotone.privacy.patterns.numbers import options
from ecotone.privacy.patterns.vendors import BEGINS, VENDORS

_TOKEN_MAX = 8192
"""A token is looked at no further, code points (a JWT with many claims has 3,000)."""

_BLOCK_MAX = 16384
"""A private key ends within this, code points; one that does not is taken to end there."""

_BLOCK_START = Form(
    r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,4}PRIVATE KEY(?: BLOCK)?-----|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"
    r"|PuTTY-User-Key-File-[23]:"
)
_BLOCK_END = Form(r"-----END [A-Z0-9 ]{0,40}-----|---- END [A-Z0-9 ]{0,40}----|Private-MAC: [0-9a-f]{40,64}")
_BLOCK_FRONT = 64

_LOGIN = Form(r"""[A-Za-z][A-Za-z0-9+.-]{1,30}://([^\s/@:"'<>]{0,128}):([^\s/@"'<>]{1,256})@[^\s"'<>,;)\]}]{1,512}""")
_SCHEME = Form(r"[A-Za-z][A-Za-z0-9+.-]{1,30}\Z")
_STAND_IN = Form(r"[*xX.…]{3,}|[<{\[$%].*|.*[>}\]]|your.*|.*placeholder.*", re.IGNORECASE)


class Keys:
    """Finds secrets by their form. Built once."""

    def __init__(self, net: Net) -> None:
        self._hexed = net.hexed
        beginnings: dict[str, list[tuple[str, re.Pattern[str], re.Pattern[str] | None]]] = {}
        for name, fronts, rest in VENDORS:
            back = re.compile(BEGINS[name]) if name in BEGINS else None
            for front in fronts.split():
                beginnings.setdefault(front, []).append((f"secret.{name}", re.compile(rest), back))
        self._beginnings = beginnings
        free = [f for f in beginnings if _inner(beginnings[f])] + [word.decode() for word in _LOOKS]
        bound = [f for f in beginnings if f not in free]
        form = "|".join((r"\b(?:" + _literals(bound) + ")", _literals(free), HEX_GATE))
        chosen = options()
        self._within = re2.compile(form.encode(), chosen)
        self._gate = re2.compile(f"{form}|{ENCODED_GATE}".encode(), chosen)

    def find(self, text: str, raw: bytes) -> tuple[list[Hit], list[Text]]:
        """The hits, and the texts that are encoded in this one.

        Args:
            text: The folded text.
            raw: The same as Latin-1.
        """
        hits: list[Hit] = []
        texts: list[Text] = []
        taken = 0
        for m in self._gate.finditer(raw):
            start, end = m.span()
            if start < taken:
                continue
            hit = self._looked(text, raw, start, end)
            if hit is not None:
                hits.append(hit)
                taken = hit.end
                continue
            token = encoded_token(text, start)
            if token - start >= ENCODED_MIN:
                taken = token
                # The long word has swallowed what may begin inside it.
                inner = (self._looked(text, raw, *m.span()) for m in self._within.finditer(raw, start + 1, token))
                hits += [hit for hit in inner if hit is not None]
                said = decode(text[start:token])
                if said is not None:
                    texts.append((start, token, said))
        return hits, texts

    def _looked(self, text: str, raw: bytes, start: int, end: int) -> Hit | None:
        look = _LOOKS.get(raw[start:end])
        if look is not None:
            return look(text, start)
        if text[start:end] in self._beginnings:
            return self._token(text, start, end) or self._hexed(text, start, end)
        return None if raw[start:end].isalnum() else self._hexed(text, start, end)

    def _token(self, text: str, start: int, end: int) -> Hit | None:
        # A longer beginning may hide a shorter one that fits: try all that begin here, longest first.
        for size in range(end - start, 1, -1):
            for kind, rest, back in self._beginnings.get(text[start : start + size], ()):
                first = start
                if back is not None:
                    front = back.search(text, max(0, start - 40), start)
                    if front is None:
                        continue
                    first = front.start()
                found = rest.match(text, start + size, start + size + _TOKEN_MAX)
                if found is None or (len(set(found.group())) <= 2 and back is None):
                    continue
                if first and (text[first - 1].isalnum() and text[first - 1] < "\u2e80"):
                    continue
                return Hit(first, found.end(), kind, 0.98)
        return None


def _inner(forms: list[tuple[str, re.Pattern[str], re.Pattern[str] | None]]) -> bool:
    return any(back is not None for _, _, back in forms)


def _literals(words: list[str]) -> str:
    return "|".join(re2.escape(w) for w in sorted(words, key=len, reverse=True))


def _block(text: str, at: int) -> Hit | None:
    """The private key around this place, to its end."""
    begun = _BLOCK_START.search(text, max(0, at - _BLOCK_FRONT), at + _BLOCK_FRONT)
    if begun is None:
        return None
    wall = text.find("\x1e", begun.end(), begun.end() + _BLOCK_MAX)
    limit = min(begun.end() + _BLOCK_MAX, len(text)) if wall < 0 else wall
    ended = _BLOCK_END.search(text, begun.end(), limit)
    return Hit(begun.start(), ended.end() if ended is not None else limit, "secret.private_key", 0.99)


def _login(text: str, at: int) -> Hit | None:
    """The address with a login around this `://`."""
    scheme = _SCHEME.search(text, max(0, at - 31), at)
    found = None if scheme is None else _LOGIN.match(text, scheme.start())
    if found is None or _STAND_IN.fullmatch(found[2]) is not None:
        return None
    return Hit(found.start(), found.end(), "secret.url_login", 0.98)


_LOOKS = {b"PRIVATE KEY": _block, b"PuTTY-User-Key-File-": _block, b"://": _login}
