"""Imports run downwards only (CONTRIBUTING.md, "Where things live"), and what has one place stays in it: by syntax."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastcore

ROOT = Path(fastcore.__file__).parent

# Top-level part of fastcore -> floor. A part imports itself and parts of lower floors; never its neighbours, never up.
FLOOR = {
    "__main__": 7,
    "_cli": 6,
    "__init__": 5,
    "integrations": 4,
    "sharding": 3,
    "kvcache": 3,
    "attention": 2,
    "metrics": 2,
    "polynomial": 2,
    "nn": 2,
    "autodiff": 2,
    "_core": 1,
    "reference": 1,  # beside the floors: it may not even import _core, its neighbour
}
# Third parties allowed anywhere in a file, function bodies included.
NUMERICAL = {"llvmlite", "numba", "numpy", "scipy"}
THIRD_PARTIES = {
    "_core": {"llvmlite", "numba", "numpy"},
    "autodiff": NUMERICAL | {"matplotlib"},  # of Graph.plot, imported there
    "reference": {"numpy"},
    "__init__": set(),
    "__main__": set(),
}
ON_DEMAND = {"_cli", "integrations", "sharding"}  # optional packages, imported where the user asked for them
COMPILERS = {"jit", "njit", "generated_jit", "vectorize", "guvectorize", "cfunc", "stencil"}

FILES = sorted(ROOT.rglob("*.py"))


def part_of(module: str) -> str:
    """`fastcore.attention.kernels.forward` -> `attention`; fastcore itself and its lazy names -> `__init__`."""
    words = module.split(".")
    return words[1] if len(words) > 1 and words[1] in FLOOR else "__init__"


def module_of(file: Path) -> str:
    words = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" and len(words) > 2 else words)


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Modules a file imports anywhere; `from package import name` counts as package.name, which may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def import_faults(source: str, module: str) -> list[str]:
    """Imports of `source`, the text of `module`, that break a rule of the floors."""
    part = part_of(module)
    faults = []
    for imported in imported_modules(ast.parse(source)):
        package = imported.split(".")[0]
        if imported.startswith("."):
            faults.append(f"{imported}: write imports absolutely")
        elif package == "fastcore":
            other = part_of(imported)
            if other != part and FLOOR[other] >= FLOOR[part]:
                faults.append(f"{imported}: floor {FLOOR[other]} from {part} on floor {FLOOR[part]}")
        elif part not in ON_DEMAND and package not in sys.stdlib_module_names | THIRD_PARTIES.get(part, NUMERICAL):
            faults.append(f"{imported}: not a package that {part} may import")
    return faults


def test_every_part_has_a_floor():
    parts = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts <= set(FLOOR)


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_imports_run_downwards(file):
    assert import_faults(file.read_text(encoding="utf-8"), module_of(file)) == []


@pytest.mark.parametrize(
    "module, line",
    [
        ("fastcore._core.jit", "import fastcore.attention"),
        ("fastcore._core.jit", "from fastcore import attention"),
        ("fastcore._core.validate", "import scipy.special"),
        ("fastcore._core.validate", "from fastcore.reference import attention"),
        ("fastcore.reference.attention", "from fastcore._core import validate"),
        ("fastcore.reference.attention", "def f():\n    import scipy"),
        ("fastcore.attention.kernels.forward", "from fastcore.metrics import auc"),
        ("fastcore.attention.kernels.forward", "from .. import kernels"),
        ("fastcore.attention.api", "import torch"),
        ("fastcore.attention.api", "from fastcore import set_num_threads"),
    ],
)
def test_forbidden_import_is_found(module, line):
    assert len(import_faults(line, module)) == 1


@pytest.mark.parametrize(
    "module, line",
    [
        ("fastcore.kvcache.paged", "from fastcore.attention.kernels import forward"),
        ("fastcore.attention.api", "from fastcore._core import validate"),
        ("fastcore.attention.api", "import math, numpy, scipy.special"),
        ("fastcore._cli.app", "import typer, fastcore, fastcore.attention"),
    ],
)
def test_allowed_import_passes(module, line):
    assert import_faults(line, module) == []


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(ROOT)) for file in FILES])
def test_numba_compilers_are_used_in_one_place(file):
    """Options are decided in _core/jit.py: no other file decorates with Numba's own compilers."""
    if file == ROOT / "_core" / "jit.py":
        return
    tree = ast.parse(file.read_text(encoding="utf-8"))
    used = {f"numba.{name}" for name in COMPILERS} & set(imported_modules(tree))
    used |= {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {
        f"{alias}.{name}" for alias in ("numba", "nb") for name in COMPILERS
    }
    assert not used


@pytest.mark.parametrize(
    "file", [file for file in FILES if "kernels" in file.parts], ids=lambda file: str(file.relative_to(ROOT))
)
def test_kernels_never_raise(file):
    """Raising inside `prange` loses the exception or serialises the loop: public functions judge, kernels compute."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.Assert)] == []
