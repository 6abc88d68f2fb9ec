"""What the same step costs by other means, in bytes: computed from the files, without a link."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

from backports import zstd
from pyfastcdc import FastCDC

DIGEST_BYTES = 32


def zstd_whole(path: Path) -> int:
    """The file packed with zstd, level 3."""
    return len(zstd.compress(path.read_bytes(), level=3))


def zstd_prefix(path: Path, base: Path) -> int:
    """`zstd --patch-from`: the base as a prefix, long-distance matching, window 128 MiB."""
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: 3,
        parameter.window_log: 27,
        parameter.enable_long_distance_matching: 1,
    }
    prefix = zstd.ZstdDict(base.read_bytes(), is_raw=True).as_prefix
    return len(zstd.compress(path.read_bytes(), options=options, zstd_dict=prefix))


def cdc(path: Path, base: Path) -> int:
    """Content-defined chunks of 64 KiB on average: those that the base has not, and an index of all."""
    chunks, known = _chunks(path), set(_chunks(base))
    return sum(length for name, length in dict(chunks.items()).items() if name not in known) + DIGEST_BYTES * len(
        chunks
    )


def _chunks(path: Path) -> dict[bytes, int]:
    content = path.read_bytes()
    cuts = FastCDC(avg_size=64 << 10, seed=0).cut_buf(content)
    return {hashlib.sha256(content[c.offset : c.offset + c.length]).digest(): c.length for c in cuts}


def casync(path: Path, base: Path, folder: Path) -> int | None:
    """casync with chunks of 64 KiB, packed as it packs them, and its index; None where it is not installed."""
    if shutil.which("casync") is None:
        return None
    stores = []
    folder.mkdir()
    for number, file in enumerate((base, path)):
        store, index = folder / f"{number}.castr", folder / f"{number}.caibx"
        command = ["casync", "make", "--chunk-size=65536", f"--store={store}", str(index), str(file)]
        subprocess.run(command, check=True, capture_output=True)
        stores.append({chunk.name: chunk.stat().st_size for chunk in store.rglob("*.cacnk")})
    sent = sum(size for name, size in stores[1].items() if name not in stores[0])
    total = sent + (folder / "1.caibx").stat().st_size
    shutil.rmtree(folder)
    return total
