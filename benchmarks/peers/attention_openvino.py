"""OpenVINO: a model of one ScaledDotProductAttention (opset 13), float32, tensors bound beforehand."""

import sys
from functools import cache
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
    if p.dtype != "float32":
        raise Unavailable(f"its CPU plugin computes {p.dtype} in float32")
    repeats = p.H // p.groups
    keys = [array if repeats == 1 else np.repeat(array, repeats, axis=1) for array in (data.key, data.value)]
    arrays = [data.query, *keys]
    padding = data.padding()
    if padding is not None:
        arrays.append(np.where(padding, 0, -np.inf).astype(np.float32)[:, None, None, :].copy())

    def side() -> Side:
        parameters = [opset.parameter(list(array.shape), array.dtype) for array in arrays]
        result = opset.scaled_dot_product_attention(*parameters, causal=p.causal)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": thread_count(),
        }
        request = core().compile_model(openvino.Model([result], parameters), "CPU", options).create_infer_request()
        for index, array in enumerate(arrays):
            request.set_input_tensor(index, openvino.Tensor(array, shared_memory=True))

        def call() -> Any:
            request.infer()
            return request, arrays  # arrays: the tensors do not keep the memory they share alive

        return Side(call, lambda done: done[0].get_output_tensor(0).data.copy())

    return fastest({"opset13" + (", keys repeated beforehand" if repeats > 1 else ""): side})
