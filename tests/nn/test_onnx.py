"""ONNX's own operator tests, which come with the `onnx` package. Run by `make test-peers`."""

import numpy as np
import pytest

from fastcore import nn

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

# How many tests of an operator onnx 1.20 has; later versions may have more.
FEWEST = {
    "BatchNormalization": 4,
    "Dropout": 12,
    "Gelu": 4,
    "GroupNormalization": 2,
    "LayerNormalization": 19,
    "LogSoftmax": 7,
    "RMSNormalization": 19,
    "Shrink": 1,
    "Softmax": 7,
    "Swish": 1,
}


def layer_normalization(attributes, x, weight, bias=None):
    return [nn.layer_norm(x, x.shape[attributes.get("axis", -1) :], weight, bias, attributes.get("epsilon", 1e-5))]


def rms_normalization(attributes, x, weight):
    return [nn.rms_norm(x, x.shape[attributes.get("axis", -1) :], weight, attributes.get("epsilon", 1e-5))]


def group_normalization(attributes, x, weight, bias):
    return [nn.group_norm(x, attributes["num_groups"], weight, bias, attributes.get("epsilon", 1e-5))]


def batch_normalization(attributes, x, weight, bias, mean, variance):
    """ONNX's momentum is the share of the old statistics, and its variance divides by the number of elements."""
    training, eps = bool(attributes.get("training_mode", 0)), attributes.get("epsilon", 1e-5)
    share = 1 - attributes.get("momentum", 0.9)
    running_mean, running_variance = mean.copy(), variance.copy()
    y = nn.batch_norm(x, running_mean, running_variance, weight, bias, training, share, eps)
    count = x.size // len(mean)
    change = (running_variance - (1 - share) * variance) * (count - 1) / count
    return [y, running_mean, (1 - share) * variance + change]


def dropout(attributes, x, ratio=None, training=False):
    """Which elements are dropped is up to the implementation: a mask is compared by the kept elements' values."""
    ratio = attributes.get("ratio", 0.5) if ratio is None else float(ratio)
    y = nn.dropout(x, ratio, bool(training), seed=attributes.get("seed", 0))
    return [y, y != 0]


def softmax(attributes, x):
    return [nn.softmax(x, attributes.get("axis", -1))]


def log_softmax(attributes, x):
    return [nn.log_softmax(x, attributes.get("axis", -1))]


def gelu(attributes, x):
    return [nn.gelu(x, attributes.get("approximate", b"none").decode())]


def swish(attributes, x):
    return [nn.silu(x)]


def shrink(attributes, x):
    return [nn.soft_threshold(x, attributes["lambd"])]


OPERATORS = {
    "BatchNormalization": batch_normalization,
    "Dropout": dropout,
    "Gelu": gelu,
    "GroupNormalization": group_normalization,
    "LayerNormalization": layer_normalization,
    "LogSoftmax": log_softmax,
    "RMSNormalization": rms_normalization,
    "Shrink": shrink,
    "Softmax": softmax,
    "Swish": swish,
}


@pytest.fixture(scope="module")
def cases():
    """(operator, name, attributes, inputs, outputs) of all of ONNX's tests of one node."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    node_cases = pytest.importorskip("onnx.backend.test.case.node")
    found = []
    for case in node_cases.collect_testcases(None):
        (node, *others), (inputs, outputs) = case.model.graph.node, case.data_sets[0]
        if not others and node.op_type in OPERATORS:  # not those expanded into primitive operators
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            found.append((node.op_type, case.name, attributes, inputs, outputs))
    return found


def is_ours(operator, attributes):
    """silu has a slope of 1, and soft thresholding moves by as much as it thresholds."""
    if operator == "Shrink":
        return attributes.get("bias", 0.0) == attributes["lambd"]
    return operator != "Swish" or attributes.get("alpha", 1.0) == 1.0


@pytest.mark.parametrize("operator", OPERATORS)
def test_operator_equals_the_onnx_operator_tests(cases, operator):
    done, wrong = 0, []
    for op_type, name, attributes, inputs, outputs in cases:
        if op_type != operator or not is_ours(operator, attributes):
            continue
        got = OPERATORS[operator](attributes, *inputs)
        if operator == "Dropout" and name.startswith("test_training") and "zero_ratio" not in name:
            kept = got[0] != 0
            outputs = [np.where(kept, inputs[0] / (1 - inputs[1]), 0)]
        done += 1
        if not all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(got, outputs, strict=False)):
            wrong.append(name)
    assert not wrong
    assert done >= FEWEST[operator]
