"""OpenVINO: a model of one ScaledDotProductAttention (opset 13), tensors bound beforehand.

float32, or computed in bfloat16, with the tensors in either.
"""

import sys
from functools import cache, partial
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.environment import thread_count
from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable


def load() -> ModuleType:
    """OpenVINO without its telemetry, which forks this process in the middle of a run to report to its maker."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it fails, as wanted
    return require("openvino")


@cache
def core() -> Any:
    return load().Core()


def prepare(data: Any) -> Side:
    openvino = load()
    opset = require("openvino.opset13")
    p = data.problem
    if p.dtype == "float64":
        raise Unavailable(f"its CPU plugin computes {p.dtype} in float32")
    repeats = p.H // p.groups
    bias = data.padding_bias()
    masks = [] if bias is None else [bias]

    def spread(parameter: Any) -> Any:
        """(B, G, S, D) to (B, H, S, D) within the graph."""
        grouped = opset.unsqueeze(parameter, np.array(2))
        wide = opset.broadcast(grouped, np.array([p.B, p.groups, repeats, p.keys, p.D]))
        return opset.reshape(wide, np.array([p.B, p.H, p.keys, p.D]), special_zero=False)

    def side(keys: list[np.ndarray], in_graph: bool, stored: str = "f32") -> Side:
        arrays = [data.query, *keys, *masks]
        if p.dtype == "bfloat16":
            arrays = [array.view(np.uint16) if stored == "bf16" else array.astype(np.float32) for array in arrays]
        kind = getattr(openvino.Type, stored)
        parameters = [opset.parameter(list(array.shape), kind) for array in arrays]
        query, key, value, *mask = parameters
        if in_graph:
            key, value = spread(key), spread(value)
        result = opset.scaled_dot_product_attention(query, key, value, *mask, causal=p.causal)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if p.dtype == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": thread_count(),
        }
        request = core().compile_model(openvino.Model([result], parameters), "CPU", options).create_infer_request()
        for index, array in enumerate(arrays):
            bound = (array, openvino.Shape(array.shape), kind) if stored == "bf16" else (array,)
            shared = {} if stored == "bf16" else {"shared_memory": True}
            request.set_input_tensor(index, openvino.Tensor(*bound, **shared))

        def call() -> Any:
            request.infer()
            return request, arrays  # arrays: the tensors do not keep the memory they share alive

        def collect(done: Any) -> np.ndarray:
            out = done[0].get_output_tensor(0).data
            return (out.view(np.uint16).astype(np.uint32) << 16).view(np.float32) if stored == "bf16" else out.copy()

        return Side(call, collect)

    keys = [data.key, data.value]
    if p.dtype == "bfloat16":
        return fastest({f"{stored} tensors": partial(side, keys, False, stored) for stored in ("bf16", "f32")})
    if repeats == 1:
        return fastest({"opset13": partial(side, keys, False)})
    repeated = [np.repeat(array, repeats, axis=1) for array in keys]
    return fastest(
        {
            "opset13, keys repeated beforehand": partial(side, repeated, False),
            "opset13, keys broadcast in the graph": partial(side, keys, True),
        }
    )
