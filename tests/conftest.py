"""Settings every test runs under: an own kernel cache, seeded random numbers, deterministic hypothesis."""

import os
from pathlib import Path

# Before anything imports fastcore, and inherited by the subprocesses of tests: the user's cache is neither read nor
# written, and kernels compile once for all runs (entries are addressed by content, so stale ones are never found).
os.environ.setdefault("FASTCORE_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "tests"))

import hypothesis
import numpy as np
import pytest

# No deadline: the first example of a test may compile a kernel for seconds.
hypothesis.settings.register_profile("fastcore", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("fastcore")


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers, the same in each run of a test."""
    return np.random.default_rng(20_170_612)
