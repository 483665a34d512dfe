"""What README and CONTRIBUTING show is run, so that it stays true."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python_blocks(document: str) -> list[str]:
    return re.findall(
        r"^```python\n(.*?)^```$", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The package with the files of CONTRIBUTING's example added; each block's first line names its file."""
    root = tmp_path_factory.mktemp("example")
    for folder in ("fastcore", "benchmarks"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "tests").mkdir()
    for name in ("tests/conftest.py", "pyproject.toml"):
        shutil.copy(ROOT / name, root / name)
    for block in python_blocks("CONTRIBUTING.md"):
        file = root / block.partition("\n")[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block, encoding="utf-8")
    for folder in ("fastcore/nn", "fastcore/nn/kernels"):
        (root / folder / "__init__.py").touch()
    return root


def test_readme_example_runs_and_agrees_with_the_reference(tmp_path):
    (block,) = python_blocks("README.md")
    shape, error = run("-c", block, cwd=tmp_path).rsplit(maxsplit=1)
    assert shape == "(2, 8, 512, 64)"
    assert float(error) < 1e-5


def test_contributing_example_passes_its_own_tests(example):
    assert " passed" in run("-m", "pytest", "-q", "tests/nn/test_l2_normalize.py", cwd=example)


def test_contributing_example_passes_the_checks(example):
    files = [
        str(file) for file in sorted(example.rglob("*")) if file.name in {"l2_normalize.py", "test_l2_normalize.py"}
    ]
    assert len(files) == 5
    run("-m", "ruff", "check", *files, cwd=example)
    run("-m", "ruff", "format", "--check", *files, cwd=example)


def test_contributing_example_kernels_join_the_warm_up(example):
    code = "from fastcore._cli.kernels import registered; print([kernel.name for kernel in registered()])"
    assert run("-c", code, cwd=example).count("fastcore.nn.kernels.l2_normalize.normalize_parallel") == 2


@pytest.mark.parametrize(
    "sides", ["[case.ours, case.naive]", pytest.param("case.peers.values()", marks=pytest.mark.peer)]
)
def test_contributing_benchmark_case_is_correct(example, sides):
    code = f"""
import numpy as np
from benchmarks.cases.l2_normalize import cases
for case in cases():
    data = case.make()
    check = case.check(data)
    for factory in {sides}:
        side = factory(data)
        error = np.abs(check.select(side.collect(side.call())) - check.expected).max()
        assert error <= case.tolerance * np.abs(check.expected).max(), (case.name, error)
"""
    run("-c", code, cwd=example)
