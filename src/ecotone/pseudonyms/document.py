"""A request's JSON with some of its strings replaced. Pure.

All is decoded and written anew, compactly: so a key that is given twice, of which decoders read only one, cannot carry
out what nobody looked at. Order of keys and numbers stay as they were written.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ecotone.values import INSIDE, RefusalError, Step

_read: Final = msgspec.json.Decoder(float_hook=lambda written: msgspec.Raw(written.encode())).decode


class Document:
    """One body, decoded.

    Attributes:
        root: Of the decoded JSON.
    """

    def __init__(self, body: bytes | str) -> None:
        """Raises:
        RefusalError: it cannot be read to its end.
        """
        try:
            self.root: Any = _read(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise refused("the body cannot be read to its end") from None
        self._inner: dict[tuple[Step, ...], Document] = {}

    def put(self, path: tuple[Step, ...], text: str, *, is_number: bool = False) -> None:
        """Another string (or number, as written) at a path."""
        if INSIDE in path:
            at = path.index(INSIDE)
            self._inside(path[:at]).put(path[at + 1 :], text, is_number=is_number)
            return
        self._parent(path)[path[-1]] = msgspec.Raw(text.encode()) if is_number else text

    def rename(self, path: tuple[Step, ...], name: str) -> None:
        """Another name for a key of an object.

        Raises:
            RefusalError: the object has such a key.
        """
        if INSIDE in path:
            at = path.index(INSIDE)
            self._inside(path[:at]).rename(path[at + 1 :], name)
            return
        parent = self._parent(path)
        if name in parent:
            raise refused("a key cannot be replaced: the object has one of that name")
        items = [(name if key == path[-1] else key, value) for key, value in parent.items()]
        parent.clear()
        parent.update(items)

    def close(self) -> None:
        """Writes JSON inside of strings back into them: before a `rename` changes what paths mean, and at the end."""
        for path, inner in self._inner.items():
            inner.close()
            self.put(path, inner.encode().decode())
        self._inner.clear()

    def encode(self) -> bytes:
        """As bytes."""
        return msgspec.json.encode(self.root)

    def _inside(self, path: tuple[Step, ...]) -> Document:
        inner = self._inner.get(path)
        if inner is None:
            inner = self._inner[path] = Document(self._parent(path)[path[-1]])
        return inner

    def _parent(self, path: tuple[Step, ...]) -> Any:
        """The object or list that holds the last step."""
        try:
            node = self.root
            for step in path[:-1]:
                node = node[step]
            node[path[-1]]
        except (KeyError, IndexError, TypeError):
            raise refused("a text is not where it was read") from None
        return node


def refused(why: str) -> RefusalError:
    """What `mask` raises where something cannot be replaced with certainty; `why` holds no content."""
    return RefusalError("refused.pseudonymise", f"{why}; the request stays at the site")
