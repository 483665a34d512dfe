"""ONNX Runtime: com.microsoft GroupQueryAttention whose present keys are its past ones, in place, by IOBinding.

The operator appends and attends in one: each call writes the newest tokens where they already stand.
"""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers import attention_onnxruntime as single
from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable

QUANTIZED = {"k_quant_type": "PER_CHANNEL", "v_quant_type": "PER_CHANNEL", "kv_cache_bit_width": 8}


def prepare(data: Any) -> Side:
    require("onnxruntime")
    onnx = require("onnx")
    require("onnx.helper")
    if data.problem.dtype in ("bfloat16", "int4"):
        raise Unavailable(f"GroupQueryAttention on the CPU was not made for a cache of {data.problem.dtype}")
    return fastest({f"GroupQueryAttention in place, {data.problem.dtype}": partial(group_query, onnx, data)})


def quantized(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 and the scale of each channel (1, G, 1, D), the finer one of the operator's two ways."""
    scale = np.abs(array).max(axis=(0, 2), keepdims=True) / np.float32(127)
    return np.rint(array / scale).astype(np.int8), scale


def group_query(onnx: Any, data: Any) -> Side:
    runtime = require("onnxruntime")
    p = data.problem
    kind = np.float16 if p.dtype == "float16" else np.float32
    named = {"query": data.query, "key": data.newest()[0], "value": data.newest()[1]}
    inputs = {name: single.rows(array).astype(kind, copy=False) for name, array in named.items()}
    attributes: dict[str, Any] = {"num_heads": p.H, "kv_num_heads": p.G}
    scales: dict[str, np.ndarray] = {}
    if p.dtype == "int8":
        attributes |= QUANTIZED
        inputs["past_key"], scales["k_scale"] = quantized(data.key)
        inputs["past_value"], scales["v_scale"] = quantized(data.value)
    else:
        # Copies: they are written to.
        inputs |= {"past_key": data.key.astype(kind), "past_value": data.value.astype(kind)}
    inputs |= {"last": np.full(p.B, p.S - 1, np.int32), "total": np.array([p.S], np.int32), **scales}
    # Five optional inputs lie between; those at the end may be left out.
    names = ["query", "key", "value", "past_key", "past_value", "last", "total"]
    names += [*[""] * 5, *scales] if scales else []
    like = {"out": inputs["query"], "present_key": inputs["past_key"], "present_value": inputs["past_value"]}
    node = onnx.helper.make_node("GroupQueryAttention", names, list(like), domain=single.MICROSOFT, **attributes)
    shapes = {name: array.shape for name, array in like.items()}
    dtypes = {name: array.dtype for name, array in like.items()}
    ready = single.session(onnx, [node], inputs, shapes, {}, dtypes)
    binding = ready.io_binding()
    values = {name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    binding.bind_output("out")
    for part in ("key", "value"):
        binding.bind_ortvalue_output(f"present_{part}", values[f"past_{part}"])

    def call() -> Any:
        ready.run_with_iobinding(binding)
        return binding, values, inputs  # the binding keeps neither its values nor their memory alive

    def collect(done: Any) -> np.ndarray:
        return single.heads_first(p, done[0].get_outputs()[0].numpy().astype(np.float32))

    return Side(call, collect)
