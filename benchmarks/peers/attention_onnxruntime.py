"""ONNX Runtime: a model of one attention node, inputs and output bound beforehand.

Three operators compute it on the CPU and none is the fastest throughout: com.microsoft MultiHeadAttention (which has a
flash kernel without mask), com.microsoft GroupQueryAttention (which skips keys in the future: for causal cases, and
for a single query at the end), and ONNX's own Attention. The fastest one that accepts the case is taken.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.environment import thread_count
from benchmarks.peers import fastest, require
from benchmarks.registry import Side, Unavailable

MICROSOFT = "com.microsoft"


def session(
    onnx: Any,
    nodes: list,
    inputs: dict[str, np.ndarray],
    outputs: dict[str, tuple],
    weights: dict[str, np.ndarray],
    dtypes: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """An inference session of these nodes; outputs that `dtypes` does not name have the type of the first input."""
    runtime = require("onnxruntime")
    helper = onnx.helper
    first = next(iter(inputs.values())).dtype

    def value(name: str, shape: tuple, dtype: Any) -> Any:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        nodes,
        "attention",
        [value(name, array.shape, array.dtype) for name, array in inputs.items()],
        [value(name, shape, dtypes.get(name, first)) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 23), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # operators that refuse a case are expected
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def side(
    onnx: Any,
    nodes: list,
    inputs: dict[str, np.ndarray],
    outputs: dict[str, tuple],
    collect: Callable[[Any], Any],
    weights: dict[str, np.ndarray] | None = None,
) -> Side:
    """A session with everything bound; `collect` gets the first output."""
    runtime = require("onnxruntime")
    ready = session(onnx, nodes, inputs, outputs, weights or {})
    binding = ready.io_binding()
    values = {name: runtime.OrtValue.ortvalue_from_numpy(array) for name, array in inputs.items()}
    for name, array in values.items():
        binding.bind_ortvalue_input(name, array)
    for name in outputs:
        binding.bind_output(name)

    def call() -> Any:
        ready.run_with_iobinding(binding)
        return binding, values  # values: the binding does not keep its inputs alive

    return Side(call, lambda done: collect(done[0].get_outputs()[0].numpy()))


def rows(array: np.ndarray) -> np.ndarray:
    """(B, L, H * D), the layout of the com.microsoft operators."""
    batch, heads, length, size = array.shape
    return np.ascontiguousarray(array.transpose(0, 2, 1, 3)).reshape(batch, length, heads * size)


def heads_first(p: Any, result: np.ndarray) -> np.ndarray:
    return result.reshape(p.B, p.L, p.H, p.D).transpose(0, 2, 1, 3)


def multi_head(onnx: Any, data: Any, mask: str = "") -> Side:
    p = data.problem
    repeats = p.H // p.groups
    keys = [np.repeat(array, repeats, axis=1) if repeats > 1 else array for array in (data.key, data.value)]
    inputs = {"query": rows(data.query), "key": rows(keys[0]), "value": rows(keys[1])}
    names = ["query", "key", "value"]
    if mask == "lengths":
        inputs["mask"] = data.key_lengths.astype(np.int32)
    elif mask == "padding":
        inputs["mask"] = data.padding().astype(np.int32)
    node = onnx.helper.make_node(
        "MultiHeadAttention",
        names + (["", "mask"] if mask else []),
        ["out"],
        domain=MICROSOFT,
        num_heads=p.H,
        unidirectional=int(p.causal),
    )
    return side(onnx, [node], inputs, {"out": (p.B, p.L, p.H * p.D)}, partial(heads_first, p))


def group_query(onnx: Any, data: Any) -> Side:
    p = data.problem
    inputs = {
        "query": rows(data.query),
        "key": rows(data.key),
        "value": rows(data.value),
        "last": np.full(p.B, p.keys - 1, np.int32),
        "total": np.array([p.keys], np.int32),
    }
    node = onnx.helper.make_node(
        "GroupQueryAttention",
        ["query", "key", "value", "", "", "last", "total"],
        ["out", "present_key", "present_value"],
        domain=MICROSOFT,
        num_heads=p.H,
        kv_num_heads=p.groups,
    )
    cache = (p.B, p.groups, p.keys, p.D)
    outputs = {"out": (p.B, p.L, p.H * p.D), "present_key": cache, "present_value": cache}
    return side(onnx, [node], inputs, outputs, partial(heads_first, p))


def standard(onnx: Any, data: Any, flat: bool) -> Side:
    """ONNX Attention on (B, H, L, D), or on (B, L, H * D)."""
    p = data.problem
    layout = rows if flat else np.asarray
    inputs = {"query": layout(data.query), "key": layout(data.key), "value": layout(data.value)}
    bias = data.padding_bias()
    if bias is not None:
        inputs["mask"] = np.ascontiguousarray(np.broadcast_to(bias, (p.B, 1, p.L, p.keys)))
    heads = {"q_num_heads": p.H, "kv_num_heads": p.groups} if flat else {}
    node = onnx.helper.make_node("Attention", list(inputs), ["out"], is_causal=int(p.causal), **heads)
    if flat:
        return side(onnx, [node], inputs, {"out": (p.B, p.L, p.H * p.D)}, partial(heads_first, p))
    return side(onnx, [node], inputs, {"out": data.query.shape}, np.asarray)


def prepare(data: Any) -> Side:
    require("onnxruntime")
    onnx = require("onnx")
    require("onnx.helper")
    p = data.problem
    if p.dtype == "bfloat16":
        raise Unavailable("its CPU kernels do not take bfloat16")
    if p.dtype == "float64":
        raise Unavailable("its Attention operator takes float64 but is no more exact than float32 (error 1e-7)")
    ways: dict[str, Callable[[], Side]] = {
        "Attention-23 BHLD": partial(standard, onnx, data, False),
        "Attention-23 BLHD": partial(standard, onnx, data, True),
    }
    if p.ragged:
        ways["MultiHeadAttention, lengths"] = partial(multi_head, onnx, data, "lengths")
        ways["MultiHeadAttention, padding"] = partial(multi_head, onnx, data, "padding")
    else:
        ways["MultiHeadAttention"] = partial(multi_head, onnx, data)
    if (p.causal or p.L == 1) and not p.ragged:
        ways["GroupQueryAttention"] = partial(group_query, onnx, data)
    return fastest(ways)
