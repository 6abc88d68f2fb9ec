"""Sites and instruments are those of the end-to-end tests."""

from tests.e2e.conftest import start, upstream

__all__ = ["start", "upstream"]
