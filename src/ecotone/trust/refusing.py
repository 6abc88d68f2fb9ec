"""What python-tuf refuses, as errors with codes of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tuf.api.exceptions import (
    BadVersionNumberError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)

from ecotone.values import TrustError

__all__ = ["refusals"]

_KEPT = "Nothing of it is used; what is installed goes on"


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """The body's refusals, as TrustError.

    Args:
        what: Which document is looked at.

    Raises:
        TrustError: `trust.expired`, `trust.signature`, `trust.rollback`, `trust.mixed`, `trust.malformed`.
    """
    try:
        yield
    except ExpiredMetadataError as error:
        raise TrustError(
            "trust.expired",
            f"{what} is no longer fresh ({error}). {_KEPT}. Sign anew at the hub (`ecotone hub sign`), or look at this "
            "machine's clock",
        ) from error
    except UnsignedMetadataError as error:
        raise TrustError(
            "trust.signature", f"{what} does not bear the signatures that it must have. {_KEPT}. Find out who made it"
        ) from error
    except BadVersionNumberError as error:
        raise TrustError(
            "trust.rollback",
            f"{what} is older than what this site has seen, or not the one that was announced ({error}). {_KEPT}. "
            "Take a newer copy of the hub",
        ) from error
    except LengthOrHashMismatchError as error:
        raise TrustError(
            "trust.mixed", f"{what} is not the one that was announced: its digest or length differs. {_KEPT}"
        ) from error
    except (RepositoryError, ValueError, KeyError, TypeError) as error:
        # python-tuf's parsers let some of the latter through.
        raise TrustError(
            "trust.malformed", f"{what} is not metadata of a hub ({type(error).__name__}). {_KEPT}"
        ) from error
