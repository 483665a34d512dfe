"""ONNX Runtime: MatMul, com.microsoft MultiHeadAttention, MatMul in one graph."""

from typing import Any

import numpy as np

from benchmarks.peers import attention_onnxruntime as single
from benchmarks.peers import fastest, require
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    require("onnxruntime")
    onnx = require("onnx")
    require("onnx.helper")
    helper, layer = onnx.helper, data.layer
    weights = {
        f"{letter}_weight": np.ascontiguousarray(weight.T) for letter, weight in zip("qkv", np.split(data.in_weight, 3))
    }
    weights |= {f"{letter}_bias": bias for letter, bias in zip("qkv", np.split(data.in_bias, 3))}
    weights |= {"out_weight": np.ascontiguousarray(data.out_weight.T), "out_bias": data.out_bias}

    def side() -> Side:
        nodes = []
        for letter in "qkv":
            nodes.append(helper.make_node("MatMul", ["x", f"{letter}_weight"], [f"{letter}_product"]))
            nodes.append(helper.make_node("Add", [f"{letter}_product", f"{letter}_bias"], [letter]))
        options = {"domain": single.MICROSOFT, "num_heads": layer.H}
        nodes.append(helper.make_node("MultiHeadAttention", ["q", "k", "v"], ["attended"], **options))
        nodes.append(helper.make_node("MatMul", ["attended", "out_weight"], ["product"]))
        nodes.append(helper.make_node("Add", ["product", "out_bias"], ["out"]))
        return single.side(onnx, nodes, {"x": data.x}, {"out": data.x.shape}, np.asarray, weights)

    return fastest({"MatMul, MultiHeadAttention, MatMul": side})
