"""PyTorch's threads as those of fastcore's kernels, inside its operators."""

import contextlib
from pathlib import Path
from typing import Any

import torch

from fastcore._core.team import find_team


def _torch_threads() -> Any:
    """PyTorch's team, or fastcore's own threads where PyTorch was built without OpenMP."""
    if "ATen parallel backend: OpenMP" not in torch.__config__.parallel_info():
        return contextlib.nullcontext()
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    return find_team(library, torch.get_num_threads) or contextlib.nullcontext()


ON_TORCH_THREADS = _torch_threads()
