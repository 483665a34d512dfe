import pytest

pytest.importorskip("matplotlib")

from benchmarks import plots


def test_every_picture_of_a_run_is_written(run, tmp_path):
    assert [path.name for path in plots.write(run, tmp_path)] == ["speedup.png", "roofline.png", "scaling.png"]
    assert all(path.stat().st_size > 5000 for path in tmp_path.iterdir())


def test_roofline_leaves_out_cases_without_a_ceiling(run):
    run["cases"][0]["ceiling"] = run["cases"][1]["ceiling"] = None
    (axes,) = plots.roofline(run).axes
    assert len(axes.lines) == 2


def test_scaling_needs_two_lengths(run):
    run["cases"] = run["cases"][:1]
    assert plots.scaling(run) is None


def test_run_without_a_comparison_still_draws(run, tmp_path):
    run["cases"] = run["cases"][2:]
    assert [path.name for path in plots.write(run, tmp_path)] == ["speedup.png", "roofline.png"]
