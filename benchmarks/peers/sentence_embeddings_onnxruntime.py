"""ONNX Runtime: BERT of its fused operators, as its own transformers optimizer writes it."""

from typing import Any

import numpy as np

from benchmarks.environment import thread_count
from benchmarks.peers import attention_onnxruntime as single
from benchmarks.peers import require
from benchmarks.registry import Side


def prepare(data: Any) -> Side:
    runtime = require("onnxruntime")
    onnx = require("onnx")
    require("onnx.helper")
    model = build(onnx, data).SerializeToString()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def side(batches: list) -> Side:
        inputs = [
            {"words": batch.words.astype(np.int32), "kinds": np.zeros_like(batch.words, np.int32),
             "mask": batch.mask.astype(np.int32)}
            for batch in batches
        ]  # fmt: skip
        shares = [(batch.mask / batch.lengths[:, None]).astype(np.float32)[:, None] for batch in batches]

        def call() -> np.ndarray:
            out = np.empty((len(data.tokens), data.config.hidden), np.float32)
            for batch, feed, share in zip(batches, inputs, shares):
                means = np.matmul(share, session.run(["hidden"], feed)[0])[:, 0]
                out[batch.sentences] = means / np.linalg.norm(means, axis=1, keepdims=True)
            return out

        return Side(call, np.asarray)

    return data.fastest(side)


class Graph:
    """Nodes and constants that grow layer by layer."""

    def __init__(self, onnx: Any, data: Any) -> None:
        self.helper, self.config, self.weights = onnx.helper, data.config, data.weights
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def norm(self, name: str) -> list[str]:
        return [self.weight(f"{name}.LayerNorm.weight"), self.weight(f"{name}.LayerNorm.bias")]

    def add(self, kind: str, inputs: list[str], outputs: list[str], domain: str = single.MICROSOFT, **more: Any) -> str:
        self.nodes.append(self.helper.make_node(kind, inputs, outputs, domain=domain, **more))
        return outputs[0]

    def product(self, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        return self.add("MatMul", [x, weight], [f"{name}.product"], domain="")

    def embed(self) -> tuple[str, str]:
        """Hidden features, and the number of tokens of each sentence."""
        tables = [self.weight(f"embeddings.{part}_embeddings.weight") for part in ("word", "position", "token_type")]
        inputs = ["words", "kinds", *tables, *self.norm("embeddings"), "mask"]
        outputs = ["embedded", "lengths"]
        return self.add("EmbedLayerNormalization", inputs, outputs, epsilon=self.config.epsilon), "lengths"

    def layer(self, hidden: str, lengths: str, name: str, out: str) -> str:
        parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = self.constant(f"{name}.qkv.weight", np.hstack([self.weights[f"{part}.weight"].T for part in parts]))
        bias = self.constant(f"{name}.qkv.bias", np.concatenate([self.weights[f"{part}.bias"] for part in parts]))
        attended = self.add(
            "Attention", [hidden, weight, bias, lengths], [f"{name}.attended"], num_heads=self.config.heads
        )
        hidden = self.skip(self.product(attended, f"{name}.attention.output.dense"), hidden, f"{name}.attention.output")
        between = self.product(hidden, f"{name}.intermediate.dense")
        between = self.add("BiasGelu", [between, self.weight(f"{name}.intermediate.dense.bias")], [f"{name}.gelu"])
        return self.skip(self.product(between, f"{name}.output.dense"), hidden, f"{name}.output", out)

    def skip(self, x: str, residual: str, name: str, out: str = "") -> str:
        inputs = [x, residual, *self.norm(name), self.weight(f"{name}.dense.bias")]
        return self.add("SkipLayerNormalization", inputs, [out or f"{name}.normal"], epsilon=self.config.epsilon)


def build(onnx: Any, data: Any) -> Any:
    graph, helper = Graph(onnx, data), onnx.helper
    hidden, lengths = graph.embed()
    for i in range(data.config.layers):
        last = i == data.config.layers - 1
        hidden = graph.layer(hidden, lengths, f"encoder.layer.{i}", "hidden" if last else "")
    inputs = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT32, ["B", "L"]) for name in ("words", "kinds", "mask")
    ]
    output = helper.make_tensor_value_info("hidden", onnx.TensorProto.FLOAT, ["B", "L", data.config.hidden])
    constants = [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()]
    body = helper.make_graph(graph.nodes, "encoder", inputs, [output], constants)
    opset = [helper.make_opsetid("", 23), helper.make_opsetid(single.MICROSOFT, 1)]
    return helper.make_model(body, opset_imports=opset, ir_version=10)
