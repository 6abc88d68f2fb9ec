"""`multipart/form-data` with one file, in pieces as they come (RFC 7578): fields are kept, the file passes through.

The syntax is python-multipart's; what is bounded, and what a form here may hold, is said here. Pure.
"""

from __future__ import annotations

from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ecotone.values import RequestError

__all__ = ["Form"]

FIELDS_BYTES_MAX: Final = 64 * 1024
PARTS_MAX: Final = 32
NAME_CHARS_MAX: Final = 255


class Form:
    """One form, as it comes in.

    Attributes:
        fields: Those that are whole by now.
        filename: Name of the file, once its part has begun; None before.
        is_whole: The form's end was seen.
    """

    def __init__(self, content_type: bytes) -> None:
        """
        Raises:
            RequestError: it is no form (415).
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise RequestError("request.form", "The body must be multipart/form-data with a file in it.", status=415)
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.is_whole = False
        self._parts = 0
        self._held = 0
        self._name = ""
        self._is_file = False
        self._header = b""
        self._value = b""
        self._field = bytearray()
        self._file = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._on_header,
                    "on_header_value": self._on_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._on_data,
                    "on_part_end": self._end,
                    "on_end": self._whole,
                },
            )
        except FormParserError:
            raise _broken() from None

    def feed(self, chunk: bytes) -> bytes:
        """What of the file stands in the next bytes of the body.

        Raises:
            RequestError: the form is broken, or holds too much besides the file.
        """
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _broken() from None
        found = bytes(self._file)
        self._file.clear()
        return found

    # What the parser calls.

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise RequestError("request.form", f"A form may hold {PARTS_MAX} parts and no more.")
        self._name, self._is_file = "", False
        self._field.clear()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            filename = options.get(b"filename")
            if filename is not None:
                self._is_file = True
                self._begin_file(filename.decode("utf-8", "replace"))
        self._header = self._value = b""

    def _begin_file(self, filename: str) -> None:
        if self._name != "file" or self.filename is not None:
            raise RequestError("request.form", "A form may hold one file, named `file`.", param="file")
        plain = "".join(sign for sign in filename if sign.isprintable())
        self.filename = plain[-NAME_CHARS_MAX:] or "file"

    def _headers_end(self) -> None:
        if not self._name:
            raise RequestError("request.form", "A part of the form has no name.")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file += data[start:end]
            return
        self._held += end - start
        if self._held > FIELDS_BYTES_MAX:
            words = f"The fields of the form are longer than {FIELDS_BYTES_MAX} bytes."
            raise RequestError("request.too_large", words, status=413)
        self._field += data[start:end]

    def _end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    def _whole(self) -> None:
        self.is_whole = True


def _broken() -> RequestError:
    return RequestError("request.form", "The body is not a well-formed multipart/form-data.")
