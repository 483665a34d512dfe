"""Facts on the machine and the packages that decide how fast kernels run.

Only `report` loads Numba.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("numba", "llvmlite", "numpy", "scipy", "tbb")


def processor_name() -> str:
    """Marketing name of the processor, as far as the system tells it."""
    if sys.platform == "linux":
        try:
            with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    if line.startswith("model name"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass
    elif sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or platform.machine()
    return platform.processor() or platform.machine()


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def report() -> dict[str, str]:
    """The rows of `python -m fastcore config`. Starts the threading layer: before a launch nobody knows which it is."""
    import llvmlite.binding as llvm
    import numba

    from fastcore._core import cache, simd, threads

    count = threads.get_num_threads()
    compiled = cache.info()
    target = numba.config.CPU_NAME or llvm.get_host_cpu_name()
    rows = {
        "processor": f"{processor_name()} ({platform.machine()}, {os.cpu_count()} logical cores)",
        "compiled for": target,
        "SIMD": f"{simd.VECTOR_BITS} bits: {simd.F32_LANES} float32 or {simd.F64_LANES} float64 lanes",
        "threading layer": str(threads.threading_layer()),
        "threads": f"{count} of {numba.config.NUMBA_NUM_THREADS}",
        "compilation": "off (NUMBA_DISABLE_JIT)" if numba.config.DISABLE_JIT else "on",
        "cache folder": f"{compiled['folder']}" if compiled["enabled"] else f"off: {compiled['reason']}",
        "cache entries": str(compiled["entries"]),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    return rows | {name: package_version(name) for name in PACKAGES}
