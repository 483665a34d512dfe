"""From the start of a Python process to the result of its first attention call, with a warm kernel cache."""

import io
import os
import subprocess
import sys
from functools import partial
from importlib.util import find_spec

import numpy as np

from benchmarks.registry import Case, Check, Side, Unavailable
from fastcore import reference

SHAPE = (1, 8, 256, 64)
INPUT = f"query, key, value = np.random.default_rng(0).standard_normal((3, *{SHAPE})).astype(np.float32)"
OUTPUT = "np.save(sys.stdout.buffer, np.asarray(out))"

OURS = "import fastcore; out = fastcore.scaled_dot_product_attention(query, key, value)"
NAIVE = """
scores = query @ key.swapaxes(2, 3) * np.float32(0.125)
scores = np.exp(scores - scores.max(axis=3, keepdims=True))
out = scores / scores.sum(axis=3, keepdims=True) @ value
"""
TORCH = """
import torch
tensors = map(torch.from_numpy, (query, key, value))
out = torch.nn.functional.scaled_dot_product_attention(*tensors)
"""


def make() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((3, *SHAPE)).astype(np.float32)


def run(program: str) -> bytes:
    # Compiled modules are kept as they are for users, whatever this process was told.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True).stdout


def side(data: np.ndarray, body: str, package: str = "numpy") -> Side:
    if find_spec(package) is None:
        raise Unavailable(f"{package} is not installed")
    program = "\n".join(("import sys", "import numpy as np", INPUT, body, OUTPUT))
    return Side(partial(run, program), lambda output: np.load(io.BytesIO(output)))


def check(data: np.ndarray) -> Check:
    return Check(np.asarray, reference.scaled_dot_product_attention(*data.astype(np.float64)))


def cases() -> list[Case]:
    batch, heads, length, size = SHAPE
    return [
        Case(
            name=f"cold_start/f32/B{batch}-H{heads}-L{length}-D{size}",
            group="start of the process",
            sizes={"B": batch, "H": heads, "L": length, "D": size},
            dtype="float32",
            make=make,
            ours=partial(side, body=OURS),
            naive=partial(side, body=NAIVE),
            check=check,
            flops=4.0 * batch * heads * length * length * size,
            bytes_moved=4.0 * 4 * batch * heads * length * size,
            tolerance=1e-5,
            ceiling=None,
            peers={"torch": partial(side, body=TORCH, package="torch")},
            quick=True,
        )
    ]
