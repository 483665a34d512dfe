"""Labels in a process of its own: guard pages, other vector widths, bodies without the compiler."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("run_guarded", ["host", "plain x86-64", "no compiler"], indirect=True)
def test_labels_are_right_and_nothing_is_read_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_labels.py")) == "96"
