"""What holds for all tests."""

from __future__ import annotations

import os

# Before numpy is loaded: on a busy machine, threads that spin for each other make small fits a hundred times slower.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
