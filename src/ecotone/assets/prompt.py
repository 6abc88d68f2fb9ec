"""HTTP connections on which the head of an answer must come to its end; a timeout of a socket only bounds a silence."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from typing import Final

__all__ = ["PromptConnection", "PromptTlsConnection"]

TIMES: Final = 2.0
"""The head may take so many times as long as a silence may last."""


class PromptConnection(http.client.HTTPConnection):
    """Who sends a line of the head a byte at a time, or one interim answer after the other, is given up."""

    _is_late = False

    def getresponse(self) -> http.client.HTTPResponse:
        """The answer, its body unread.

        Raises:
            http.client.RemoteDisconnected: its head did not come to its end in time.
        """
        assert isinstance(self.timeout, (int, float)), "a connection without a timeout may wait for ever"
        timer = threading.Timer(self.timeout * TIMES, self._cut)
        timer.daemon = True
        timer.start()
        try:
            answer = super().getresponse()
        finally:
            timer.cancel()
        if self._is_late:  # the end of the connection was taken for the end of the head
            answer.close()
            raise http.client.RemoteDisconnected("the head of the answer did not come to its end")
        return answer

    def _cut(self) -> None:
        self._is_late = True
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class PromptTlsConnection(PromptConnection, http.client.HTTPSConnection):
    """The same with TLS."""
