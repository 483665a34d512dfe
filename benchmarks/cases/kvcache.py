"""Caches of keys and values: attention of new tokens to them, in all formats, and what else happens to a cache.

What is timed is `attend`, on a cache that is filled beforehand and stays as it is; `step` cases take the newest tokens
back, append them again and attend. The ceiling is a read of the very arrays of the cache in the same rounds.

Axes as in STYLE.md: B sequences, H query heads, G key/value heads, L new tokens, S keys with the new ones, D head size.
"""

from functools import partial

from benchmarks import streaming
from benchmarks.cases import kvcache_growth, kvcache_paged
from benchmarks.cases.kvcache_problem import Input, Problem, attend, case_of, step
from benchmarks.peers import kvcache_onnxruntime, kvcache_openvino, kvcache_torch
from benchmarks.registry import Case, Factory, Side

PEERS: dict[str, Factory] = {
    "torch": kvcache_torch.prepare,
    "torch rows": kvcache_torch.prepare_rows,
    "onnxruntime": kvcache_onnxruntime.prepare,
    "openvino": kvcache_openvino.prepare,
}
STEP_PEERS: dict[str, Factory] = {"torch": kvcache_torch.prepare_step, "onnxruntime": kvcache_onnxruntime.prepare}


def bound(data: Input) -> list[Side]:
    return streaming.bound(list(data.cache()._storage.arrays.values()))


def case(problem: Problem) -> Case:
    p = problem
    steps = p.kind == "step"
    peers = STEP_PEERS if steps else PEERS
    if p.dtype != "float32":
        peers = {"fastcore float32": partial(attend, dtype="float32"), **peers}
    return case_of(
        p,
        ours=step if steps else attend,
        ceiling="flops" if p.kind == "chunk" else "bytes",
        bound=None if p.kind == "chunk" else bound,
        peers=peers,
    )


def problems() -> list[Problem]:
    """A model like Llama 3 8B at full length and in each format, then other shapes."""
    llama = partial(Problem, H=32, G=8, D=128)
    large = [llama(B=batch, S=length, quick=batch * length == 4096) for batch in (1, 8) for length in (4096, 32768)]
    formats = [
        llama(B=1, S=length, dtype=dtype, quick=dtype == "int8" and length == 4096)
        for length in (4096, 32768)
        for dtype in ("float16", "bfloat16", "int8", "int4")
    ]
    in_cache = [llama(B=1, S=1024, dtype=dtype) for dtype in ("float32", "int8")]
    shapes = [
        Problem(1, 12, 12, 256, 64, quick=True),  # a small model: overhead
        Problem(1, 32, 32, 2048, 80),
        Problem(1, 32, 8, 4096, 96),
        Problem(1, 32, 32, 2048, 128),  # groups of 1, 2, 8 and 32
        Problem(1, 16, 8, 4096, 128),
        Problem(1, 32, 4, 4096, 128),
        Problem(1, 32, 1, 32768, 128),
        Problem(32, 9, 3, 1024, 64),
        llama(B=1, S=4096, L=4, kind="verify"),  # speculative tokens
    ]
    chunks = [llama(B=1, S=4608, L=512, dtype=dtype, kind="chunk") for dtype in ("float32", "bfloat16", "int8")]
    steps = [llama(B=1, S=4096, kind="step"), Problem(1, 12, 12, 256, 64, kind="step")]
    return [*large, *formats, *in_cache, *shapes, *chunks, *steps]


def cases() -> list[Case]:
    return [*map(case, problems()), *kvcache_paged.cases(), *kvcache_growth.cases()]
