"""What needs a process of its own: guard pages, another CPU's vectors, no compiler."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("run_guarded", ["host", "AVX2"], indirect=True)
def test_roots_and_inverses_stay_within_their_arrays(run_guarded):
    assert int(run_guarded(HERE / "guarded_polynomial.py")) > 400


@pytest.mark.parametrize("run_guarded", ["no compiler"], indirect=True)
def test_polynomials_without_compiler(run_guarded):
    assert run_guarded(HERE / "small_polynomials.py") == "right"
