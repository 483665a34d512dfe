import shutil
import subprocess
import sys

import pytest

from benchmarks import asv_compare


@pytest.fixture
def clone():
    if shutil.which("git") is None or not (asv_compare.ROOT / ".git").exists():
        pytest.skip("needs git and a clone")


def import_suite(cwd, code):
    """Run code after the suite was imported as asv does, with `cwd` first on the path; what it prints."""
    start = f"import sys; sys.path[:0] = [{str(cwd)!r}, {str(asv_compare.ROOT / 'benchmarks')!r}]; import suite;"
    return subprocess.run([sys.executable, "-c", start + code], check=True, capture_output=True, text=True, cwd=cwd)


def test_without_git_the_need_is_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="needs git and a clone"):
        asv_compare.resolve("HEAD")


def test_unknown_commit_is_named(clone):
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
    for name in ("fastcore", "benchmarks", "examples"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    code = "import fastcore, benchmarks, examples; print(fastcore.__file__, benchmarks.__file__, examples.__file__)"
    assert import_suite(tmp_path, code).stdout.split() == [
        str(root / name / "__init__.py")
        for root, name in ((tmp_path, "fastcore"), (asv_compare.ROOT, "benchmarks"), (asv_compare.ROOT, "examples"))
    ]


def test_tree_named_by_the_environment_comes_first(tmp_path):
    """asv drops PYTHONPATH: what `asv_compare` has checked out is found without it, also by processes of a case."""
    (tmp_path / "tree" / "fastcore").mkdir(parents=True)
    (tmp_path / "tree" / "fastcore" / "__init__.py").touch()
    code = (
        f"import os, sys; os.environ['FASTCORE_TREE'] = {str(tmp_path / 'tree')!r};"
        f"sys.path.insert(0, {str(asv_compare.ROOT / 'benchmarks')!r}); import suite, fastcore, subprocess;"
        "print(fastcore.__file__, flush=True);"
        "subprocess.run([sys.executable, '-c', 'import fastcore; print(fastcore.__file__)'], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.split() == [str(tmp_path / "tree" / "fastcore" / "__init__.py")] * 2


def test_domain_that_the_commit_lacks_is_left_out(tmp_path):
    """An old commit: fastcore without nn."""
    folder = asv_compare.ROOT / "fastcore"
    shutil.copytree(folder, tmp_path / "fastcore", ignore=shutil.ignore_patterns("__pycache__", "nn"))
    code = "from suite import quick_cases as quick; print(*quick.CASES); quick.CASES.clear(); quick.warm()"
    done = import_suite(tmp_path, code)
    assert done.stderr.splitlines() == [
        f"domain {domain} left out: No module named 'fastcore.nn'"
        for domain in ("kvcache", "sentence_embeddings", "nn", "sharding", "transformers", "generate")
    ]
    assert {name.split("/")[0] for name in done.stdout.split()} >= {"attention", "tile"}
    assert "nn/" not in done.stdout
