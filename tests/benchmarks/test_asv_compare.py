import subprocess
import sys

import pytest

from benchmarks import asv_compare


def test_unknown_commit_is_named():
    with pytest.raises(SystemExit, match="git knows none named 'no-such-commit'"):
        asv_compare.resolve("no-such-commit")


def test_rows_without_a_measurement_are_left_out():
    head, rule, measured = (
        "| Change | Before | After | Ratio | Benchmark |",
        "|--|--|--|--|--|",
        "| - | 2 | 1 | 0.5 | b |",
    )
    table = "\n".join([head, rule, "| | n/a | n/a | n/a | a |", measured])
    assert asv_compare.measured_rows(table).splitlines() == [head, rule, measured]


def test_suite_takes_fastcore_from_the_path_and_cases_from_its_own_checkout(tmp_path):
    """How two commits are measured by the same cases: asv imports the folder as `suite`, from anywhere."""
    (tmp_path / "fastcore").mkdir()
    (tmp_path / "fastcore" / "__init__.py").touch()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").touch()
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(asv_compare.ROOT / 'benchmarks')!r}];"
        "import suite, fastcore, benchmarks; print(fastcore.__file__); print(benchmarks.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        str(tmp_path / "fastcore" / "__init__.py"),
        str(asv_compare.ROOT / "benchmarks" / "__init__.py"),
    ]
