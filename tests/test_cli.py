"""``python -m fastcore``, run as a user runs it: in a process of its own."""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastcore


def run_cli(*arguments: str, cwd=None, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "fastcore", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        cwd=cwd,
        env={**os.environ, **environment},
    )


def copy_if_there(source: str, target: str) -> None:
    """Entries are renamed while others write them."""
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def test_help_lists_the_commands():
    result = run_cli("--help")
    assert result.returncode == 0, result.stderr
    for command in ("bench", "warmup", "config", "cache"):
        assert f" {command} " in result.stdout


def test_unknown_command_fails_with_a_message():
    result = run_cli("compile")
    assert result.returncode == 2
    assert "No such command 'compile'" in result.stderr


def test_config_shows_what_kernels_run_on():
    result = run_cli("config")
    assert result.returncode == 0, result.stderr
    for row in (
        "processor",
        "compiled for",
        "SIMD",
        "threading layer",
        "threads",
        "numba",
        "llvmlite",
        "numpy",
        "scipy",
    ):
        assert row in result.stdout
    assert fastcore.__version__ in result.stdout
    assert os.environ["FASTCORE_CACHE_DIR"] in result.stdout


def test_config_names_the_layer_that_was_asked_for():
    result = run_cli("config", NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="1")
    assert "workqueue" in result.stdout, result.stderr
    assert "1 of 1" in result.stdout


def test_cache_clear_empties_the_folder_that_info_shows(tmp_path):
    folder = tmp_path / "kernels"
    environment = {"FASTCORE_CACHE_DIR": str(folder)}
    before = run_cli("cache", "info", **environment)
    assert before.returncode == 0, before.stderr
    assert str(folder) in before.stdout
    assert "entries  0" in before.stdout

    (folder / "entry.kernel").write_bytes(b"x" * 2048)
    filled = run_cli("cache", "info", **environment)
    assert "entries  1" in filled.stdout
    assert "size     2.0 KiB" in filled.stdout

    cleared = run_cli("cache", "clear", **environment)
    assert cleared.returncode == 0, cleared.stderr
    assert "Removed 1 files" in cleared.stdout
    assert "entries  0" in run_cli("cache", "info", **environment).stdout


def test_cache_info_of_an_unusable_folder_says_why(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    result = run_cli("cache", "info", FASTCORE_CACHE_DIR=str(tmp_path / "file"))
    assert result.returncode == 0, result.stderr
    assert "enabled  no: cannot create or read it" in result.stdout


NOT_KEPT = """
from fastcore._cli.kernels import registered
print([kernel.name for kernel in registered() if not kernel.is_cached()])
"""


def test_warmup_compiles_every_kernel_once(tmp_path):
    first = run_cli("warmup")
    assert first.returncode == 0, first.stderr
    assert " kernels ready after " in first.stdout
    assert os.environ["FASTCORE_CACHE_DIR"] in first.stdout
    # What cannot be kept would be compiled by each process of each user: attention's body was, for 7 s.
    found = subprocess.run([sys.executable, "-c", NOT_KEPT], capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.strip() == "[]"
    # A copy: tests of other workers add entries to the cache of the session meanwhile.
    own = shutil.copytree(os.environ["FASTCORE_CACHE_DIR"], tmp_path / "cache", copy_function=copy_if_there)
    own.chmod(0o700)
    entries = run_cli("cache", "info", FASTCORE_CACHE_DIR=str(own)).stdout
    assert run_cli("warmup", FASTCORE_CACHE_DIR=str(own)).returncode == 0
    assert run_cli("cache", "info", FASTCORE_CACHE_DIR=str(own)).stdout == entries


def test_warmup_without_a_cache_fails_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    result = run_cli("warmup", FASTCORE_CACHE_DIR=str(tmp_path / "file"), NUMBA_DISABLE_JIT="1")
    assert result.returncode == 2
    assert "Nothing was kept, the cache is off: cannot create or read it" in result.stderr


def test_bench_quick_and_full_exclude_each_other():
    result = run_cli("bench", "--quick", "--full")
    assert result.returncode == 2
    assert result.stderr.strip() == "--quick and --full exclude each other."


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_command_line_without_its_extra_names_it(tmp_path, module):
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('not installed', name='{module}')")
    result = run_cli("config", PYTHONPATH=str(tmp_path))
    assert result.returncode == 2
    assert result.stderr.strip() == (
        f"The command line of fastcore needs {module}, which is not installed."
        ' Install it with: pip install "fastcore-kernels[cli]"'
    )


def test_bench_of_an_installed_package_points_to_the_checkout(tmp_path):
    """A copy of the package alone, as a wheel installs it."""
    shutil.copytree(Path(fastcore.__file__).parent, tmp_path / "fastcore", ignore=shutil.ignore_patterns("__pycache__"))
    result = run_cli("bench", cwd=tmp_path)
    assert result.returncode == 2
    assert "Clone the repository" in result.stderr
