"""The store's memory."""

from __future__ import annotations

import threading

import pytest

from ecotone.assets.errors import StoreError
from ecotone.assets.index import Index, Record


def test_what_is_remembered_is_read_again(tmp_path):
    path = tmp_path / "assets" / "index.json"
    assert Index(path).records() == {}
    Index(path).change(lambda records: records.update(a=Record(sha256="ab" * 32)))
    assert Index(path).records() == {"a": Record(sha256="ab" * 32)}


def test_changes_at_once_are_all_kept(tmp_path):
    index = Index(tmp_path / "index.json")

    def add(n):
        index.change(lambda records: records.update({f"a{n}": Record(sha256=str(n))}))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(index.records()) == 8


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 2, "assets": {}}', b'{"version": 1, "assets": []}'])
def test_a_damaged_memory_is_not_made_anew_in_silence(tmp_path, content):
    (tmp_path / "index.json").write_bytes(content)
    with pytest.raises(StoreError, match="Move it away") as caught:
        Index(tmp_path / "index.json").records()
    assert caught.value.code == "asset.index"
