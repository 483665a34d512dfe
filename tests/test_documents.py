"""What README and CONTRIBUTING show is run, so that it stays true."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.smollm2 import weights
from fastcore.kvcache.formats import FORMATS, bytes_per_token
from tests.sharding import mpi

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md",
    "docs/attention.md", "docs/metrics.md", "docs/nn.md", "docs/sharding.md",
)  # fmt: skip


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks_of(document: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(document), re.DOTALL | re.MULTILINE)
    return [block for name, block in blocks if name == language]


def python_blocks(document: str) -> list[str]:
    return blocks_of(document, "python")


def commands(document: str) -> list[list[str]]:
    """Lines of the blocks that name no language, split into words, without comments."""
    lines = "".join(blocks_of(document, "")).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


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


def run_readme(blocks: slice, tmp_path: Path) -> list[str]:
    """What some of README's blocks print, behind the imports and random numbers that its first one begins with.

    Not all in one process: that compiles for two minutes of CPU, and took 275 of its 300 seconds on a busy machine.
    """
    all_blocks = python_blocks("README.md")
    assert len(all_blocks) == 11
    start = "".join(line for line in all_blocks[0].splitlines(True) if line.startswith(("import ", "rng = ")))
    return run("-c", start + "".join(all_blocks[blocks]), cwd=tmp_path).splitlines()


def test_readme_examples_of_attention_run_and_agree_with_the_reference(tmp_path):
    attention, gradients, loss, cache, pages = run_readme(slice(0, 4), tmp_path)
    shape, error = attention.rsplit(maxsplit=1)
    assert shape == "(2, 8, 512, 64)"
    assert float(error) < 1e-5
    assert gradients == "(2, 2, 512, 64) (1130, 8, 64)"
    assert 1e-3 < float(loss) < 0.02  # int8
    assert cache == "[540 540] (2, 8, 512, 64)"
    # 512 + 1 tokens on 33 pages, and 5 on one; the fork's page of its own is free again.
    assert pages == "[(8, 1, 64), (8, 1, 64), (8, 5, 64)] {0: 513, 2: 5} 34"


def test_readme_examples_of_metrics_run(tmp_path):
    scores, report, substituted = run_readme(slice(4, 6), tmp_path)
    # Two normal distributions one standard deviation apart: Phi(1 / sqrt(2)), and Phi(1/2) of either rate.
    area, f1 = map(float, scores.split())
    assert abs(area - 0.760) < 0.01
    assert abs(f1 - 0.691) < 0.01
    assert report == "0.99 True"
    assert substituted == "True"


def test_readme_examples_of_polynomials_run(tmp_path):
    solution, inverted, roots, coefficients = run_readme(slice(6, 7), tmp_path)
    x, residual, bound, status = solution.split()
    assert abs(float(x) - 0.293652303658128346) < 1e-15
    assert float(residual) < float(bound) < 1e-14
    assert status == "CONVERGED"
    assert inverted.split()[0] == "True"
    assert float(inverted.split()[1]) < 1e-10
    assert roots.split(maxsplit=1)[1] == "(1000, 10)"
    assert 1 < float(roots.split()[0]) < 4
    assert np.allclose([float(each) for each in coefficients.strip("[]").split()], [1.0, -2.0, 0.5], atol=1e-3)


def test_readme_examples_of_training_and_derivatives_run(tmp_path):
    gradient, second, *table, adjoints = run_readme(slice(7, 9), tmp_path)
    largest, penalty = map(float, gradient.split())
    assert largest < 1e-5
    assert 0.1 < penalty < 0.64  # the weights decrease from 64 ones, of which it is 0.48
    assert float(second.split()[0]) < 1e-14
    assert second.endswith("(100000,)")
    assert {"S", "P", "G", "H"} <= {word for line in table for word in line.split()}
    assert "'S'" in adjoints


def test_readme_examples_of_sharding_run(tmp_path):
    product, trained = run_readme(slice(9, 11), tmp_path)
    # psum of (4, 16) float64 blocks over groups of 4: 2 (4 - 1) blocks a group.
    assert product == f"True {2 * 2 * 3 * 4 * 16 * 8}"
    assert trained == "True attention.key_bias 16"


def test_examples_of_the_metrics_run(tmp_path):
    code = "".join(python_blocks("docs/metrics.md"))
    area_and_f1, interval, *of_batches, search = run("-c", code, cwd=tmp_path).splitlines()
    assert area_and_f1 == "1.0 0.8"
    assert of_batches == ["True", "True"]
    estimate, low, high = map(float, re.findall(r"0\.\d{3}\b", interval)[:3])
    assert low < estimate < high
    assert "'C'" in search


def test_examples_of_nn_run(tmp_path):
    lines = run("-c", "".join(python_blocks("docs/nn.md")), cwd=tmp_path).splitlines()
    normalized, folded, part, sparse, stepped, partials, symmetric, adjoints = lines
    assert normalized == "float32 (32, 64) (64,)"
    assert (folded, part, symmetric) == ("True", "True", "True")
    assert sparse == "2 [ 0.1 -0.1  0. ]"
    assert stepped.startswith("[0.")
    assert partials == "(1000,) ('x', 'y')"
    assert "'S', 'P'" in adjoints


def test_examples_of_attention_run(tmp_path):
    shapes, requested, resumed = run("-c", "".join(python_blocks("docs/attention.md")), cwd=tmp_path).splitlines()
    assert shapes == "(2, 8, 200, 64) (2, 8, 200) (2, 2, 200, 64)"
    assert requested == "(8, 200, 200) (8,)"
    assert resumed == "True"


@pytest.fixture
def training_program(tmp_path):
    """The program that the page on sharding starts under mpiexec; its block's first line names its file."""
    (block,) = (block for block in python_blocks("docs/sharding.md") if block.startswith("# train.py\n"))
    program = tmp_path / "train.py"
    program.write_text(block, encoding="utf-8")
    return program


def test_examples_of_sharding_run(tmp_path):
    pytest.importorskip("dask.array", reason="the example of metrics needs dask")
    blocks = [block for block in python_blocks("docs/sharding.md") if not block.startswith("# train.py\n")]
    lines = run("-c", "".join(blocks), cwd=tmp_path).splitlines()
    array, missing_sum, product, heads, step, attention, pipelined, timeline, *report, area = lines
    assert array == "ShardedArray(shape=(6, 10), dtype=float32, spec=P('dp', 'tp'), block=(3, 3))"
    assert "Is a psum missing?" in missing_sum
    assert (product, heads, attention) == ("True", "P(None, 'tp', None) True", "True")
    assert step.endswith(" 16")  # parameters of a block
    # A stage sends to the next after it has summed over tp: the bubble is beyond 3/8, that of free transfers.
    loss, stages, bubble = pipelined.split()
    assert 1.9 < float(loss) < 2.1
    assert stages == "4"
    assert float(bubble) > 3 / 8
    assert timeline == "True 23"  # 2 (8 - 1) + (2 - 1) 8 + 1
    assert report[0].startswith("65,536 devices")
    assert report[-1].startswith("bubble ")
    assert abs(float(area) - 0.760) < 0.02  # two normal distributions one standard deviation apart
    assert (tmp_path / "step.json").is_file()


def test_program_of_sharding_prints_the_same_simulated_and_on_two_ranks(training_program):
    simulated = run(str(training_program), "simulated", cwd=training_program.parent, PYTHONPATH=str(ROOT))
    first, *_, last = (float(line.split()[1]) for line in simulated.splitlines())
    assert last < first
    done = mpi.start(training_program, 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout == simulated


def test_readme_commands_of_the_examples_are_understood():
    checked = 0
    for words in commands("README.md"):
        if "examples.generate" in words:
            options = importlib.import_module("examples.generate").parse(words[words.index("examples.generate") + 1 :])
            assert options.batch is None or (ROOT / options.batch).is_file()
            checked += 1
        scripts = [word for word in words if word.startswith("examples/")]
        scripts += [f"{word.replace('.', '/')}.py" for word in words if word.startswith("examples.")]
        # A package with a __main__ is a program, too.
        scripts = [script if (ROOT / script).is_file() else script.replace(".py", "/__main__.py") for script in scripts]
        assert all((ROOT / script).is_file() for script in scripts), scripts
    assert checked >= 4


def test_readme_installs_what_the_example_asks_for():
    installs = [words[words.index("install") + 1 :] for words in commands("README.md") if "install" in words]
    assert weights.INSTALL_WEIGHTS.split()[2:] in installs
    assert sorted(weights.REQUIREMENTS.values()) in [sorted(words) for words in installs]


def test_readme_table_of_formats_has_their_sizes():
    rows = re.findall(r'^\| `"(\w+)"` \| ([\d.]+) \|', text_of("README.md"), re.MULTILINE)
    assert [(name, float(size)) for name, size in rows] == [(x, bytes_per_token(x, 64, 64) / 128) for x in FORMATS]


def test_contributing_lists_what_knows_of_storage_formats():
    (table,) = re.findall(r"^\| Of a format \|.*?\n\n", text_of("CONTRIBUTING.md"), re.DOTALL | re.MULTILINE)
    files = {file.relative_to(ROOT / "fastcore").as_posix(): file for file in (ROOT / "fastcore").rglob("*.py")}
    # Formats as numbers, names of bodies, and the types of elements that stand for them.
    words = re.compile(r"\b(INT4|INT8|BF16|attend_int4|emit_bfloat_to_float|types\.int8)\b")
    # Statuses of polynomials are int8, too, and store nothing.
    domains = {name: file for name, file in files.items() if not name.startswith(("_core/", "polynomial/"))}
    knowing = {name for name, file in domains.items() if words.search(file.read_text(encoding="utf-8"))}
    listed = set(re.findall(r"`(\S+\.py)`", table))
    assert knowing <= listed <= set(files), knowing - listed


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document):
    # Blocks add files of their own; what is generated or planned is not named with a folder.
    prose = re.sub(r"^```.*?^```$", "", text_of(document), flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"`((?:\w+/)+\w+\.(?:py|txt|md))`", prose)
    missing = [name for name in named if not ((ROOT / name).is_file() or (ROOT / "fastcore" / name).is_file())]
    assert named
    assert not missing


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
