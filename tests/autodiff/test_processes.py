"""What only a process of its own can show: guard pages, other vector widths, bodies without the compiler."""

from pathlib import Path


def test_autodiff_is_right_and_touches_nothing_out_of_bounds(run_guarded):
    assert run_guarded(Path(__file__).with_name("guarded_points.py")) == "24"
