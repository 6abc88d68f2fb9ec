"""Hashing with bounded memory."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecotone.assets import digest
from ecotone.values import ConfigError


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=5000), st.integers(1, 100))
def test_it_is_the_sha256_of_the_bytes_whatever_the_chunk(tmp_path, body, chunk):
    path = tmp_path / "a"
    path.write_bytes(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "CHUNK_BYTES", chunk)
        with digest.held(path) as held:
            assert held.sha256 == hashlib.sha256(body).hexdigest()
            assert held.bytes == len(body)
            assert os.lseek(held.fd, 0, os.SEEK_CUR) == 0, "the descriptor's position does not move"


def test_memory_is_one_chunk_whatever_the_size(tmp_path):
    import tracemalloc

    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        with digest.held(path):
            pass
        assert tracemalloc.get_traced_memory()[1] < 3 * digest.CHUNK_BYTES
    finally:
        tracemalloc.stop()


def test_the_descriptor_is_closed_and_not_inherited_unasked(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    with digest.held(path) as held:
        assert not os.get_inheritable(held.fd)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(held.fd)


def test_a_folder_and_a_missing_file_are_said(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError) as caught, digest.held(path):
            pass
        assert caught.value.code == "asset.file"
