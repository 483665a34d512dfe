import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import environment, machine, registry, runner
from benchmarks.registry import Side


@pytest.fixture
def short(monkeypatch, make_case):
    """A registry with one case, and ceilings that take no time."""
    for name in environment.OPENBLAS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(runner, "PACES", dict.fromkeys(runner.PACES, (0.02, 3)))
    monkeypatch.setattr(machine, "fma_peak", lambda *arguments, **options: 1e11)
    monkeypatch.setattr(machine, "read_bandwidth", lambda *arguments, **options: 1e10)
    monkeypatch.setattr(registry, "all_cases", lambda: (make_case(),))
    return monkeypatch


def test_main_writes_report_and_raw_numbers(short, tmp_path, capsys):
    assert runner.main(quick=True, results=tmp_path / "out") == 0
    run = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert run["mode"] == "quick"
    assert run["cases"][0]["sides"]["numpy"]["ratio"][0] > 0
    assert "fake/f64/N64" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    printed = capsys.readouterr().out
    assert "Losses" in printed
    assert "fake f64 N64" in printed


def test_cases_after_the_stop_are_skipped_and_listed(short, make_case, tmp_path, capsys):
    short.setattr(registry, "all_cases", lambda: (make_case("fake/1"), make_case("fake/2")))
    short.setattr(runner, "PACES", {"quick": (0.02, 3, 1.0, 0.0)})
    assert runner.main(quick=True, results=tmp_path) == 0
    run = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert run["cases"] == []
    assert run["skipped"] == ["fake/1", "fake/2"]
    assert "fake/2: skipped, the time of a quick run was up" in capsys.readouterr().out


def test_default_folder_and_latest(short, tmp_path):
    short.chdir(tmp_path)
    assert runner.main() == 0
    assert runner.main() == 0
    assert (tmp_path / "results" / "latest" / "results.json").is_file()


def test_wrong_result_of_ours_is_the_exit_status(short, make_case, tmp_path, capsys):
    wrong = make_case(ours=lambda data: Side(lambda: data, np.asarray))
    short.setattr(registry, "all_cases", lambda: (wrong,))
    assert runner.main(results=tmp_path) == 1
    assert "wrong result" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"filter": "("}, {"filter": "nothing"}, {"peers": "tensorflow"}])
def test_wrong_arguments_are_explained(short, capsys, options):
    assert runner.main(**options) == 2
    assert next(iter(options.values())) in capsys.readouterr().out


def test_numpy_loaded_too_early_means_a_new_process(monkeypatch, capsys):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    asked = []
    monkeypatch.setattr(environment, "rerun", lambda words: asked.append(words) or 7)
    assert runner.main(quick=True, filter="tiny", peers="none") == 7
    assert asked == [["--quick", "--filter=tiny", "--peers=none"]]
    assert "Unset OPENBLAS_CORETYPE=Haswell in a new process" in capsys.readouterr().out


def test_variables_are_unset_before_numpy_loads(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    code = (
        "import os, sys; from benchmarks import runner, environment;"
        "assert 'numpy' not in sys.modules; print(environment.unset_openblas());"
        "print([n for n in os.environ if n.startswith('OPENBLAS')])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=environment.ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["(['OPENBLAS_CORETYPE=Haswell', 'OPENBLAS_L2_SIZE=512'], False)", "[]"]
