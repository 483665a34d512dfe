"""Caches beside copy, pickle and os.fork: no copies that share rows, no child that hangs or sees half a change."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastcore.kvcache import KVCache, PagedKVCache

HERE = Path(__file__).parent
ONE = np.ones((1, 1, 1, 4), np.float32)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps, lambda x: pickle.dumps(x, 0)])
@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: KVCache(1, 1, 4, 4), r"a KVCache cannot be copied or pickled: .* Call save, then load\."),
        (lambda: PagedKVCache(4, 2, 1, 4), r"a PagedKVCache cannot be copied or pickled: .* Call fork .* transfer"),
    ],
    ids=["contiguous", "paged"],
)
def test_cache_copied_or_pickled_raises_with_what_to_call(duplicate, make, message):
    with pytest.raises(TypeError, match=message):
        duplicate(make())


BUSY = "'the cache is in the middle of a call of this thread"
CASES = {
    "ring": "([5], 4.0)",  # 9 after values 0 | 2 3 4: the step sees 0, 3, 4 and 9
    "impatient": f"({BUSY}', 0, 1)",
    "inside": f"({BUSY}', {BUSY}', 0, {ONE.tolist()}, [0])",
    "busy": "['2']",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX")
@pytest.mark.parametrize("case", CASES)
def test_cache_forked_in_use_is_whole_in_the_child_or_refuses(case):
    """Without compiled kernels, whose threads have rules of their own about forks."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", HERE / "forked_caches.py", case],
        env=os.environ | {"PYTHONPATH": str(HERE.parents[1]), "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == CASES[case]
