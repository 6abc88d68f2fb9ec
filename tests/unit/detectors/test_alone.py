"""The audit hook; what it and the kernel do to a real worker stands in tests/faults/detectors."""

from __future__ import annotations

import pytest

from ecotone.detectors import alone


@pytest.mark.parametrize(
    "event", ["socket.connect", "socket.__new__", "socket.getaddrinfo", "subprocess.Popen", "os.fork"]
)
def test_ways_out_are_refused(event):
    with pytest.raises(PermissionError, match=event):
        alone.refuse(event, ())


@pytest.mark.parametrize("event", ["open", "import", "socket.gethostname", "os.listdir"])
def test_the_rest_is_not(event):
    alone.refuse(event, ())
