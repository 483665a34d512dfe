"""PyTorch: the functions of torch.nn.functional with the same names, and the operators below them.

Where the result's memory is given, so it is to the operators that take it. Gradients are asked for in two ways: from
autograd, whose forward pass is not timed, and from the operator below it, which gets the statistics that a forward pass
would have kept; ours computes them again.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.nn_task import judged
from benchmarks.peers import fastest, require_torch
from benchmarks.registry import Side

EPSILON = 1e-5
_Calls = dict[str, Callable[[], Any]]


def prepare(data: Any) -> Side:
    torch = require_torch()
    arrays = {name: torch.from_numpy(array) for name, array in data.arrays.items()}
    p = data.problem
    calls = _backward(torch, p, arrays) if p.function.endswith("_backward") else _forward(torch, p, arrays)
    if data.out is not None:
        out = data.out if isinstance(data.out, tuple) else (data.out,)
        calls |= _given_out(torch, p, arrays, [torch.from_numpy(each) for each in out])

    def collect(result: Any) -> np.ndarray:
        results = result if isinstance(result, tuple | list) else [result]
        return judged([each.numpy() for each in results if each is not None])

    return fastest({name: partial(Side, call, collect) for name, call in calls.items()})


def _forward(torch: Any, p: Any, arrays: Mapping[str, Any]) -> _Calls:
    functional = torch.nn.functional
    x, weight, bias = arrays["input"], arrays.get("weight"), arrays.get("bias")
    row = (x.shape[-1],)
    calls: _Calls = {
        "layer_norm": lambda: functional.layer_norm(x, row, weight, bias, EPSILON),
        "add_layer_norm": lambda: functional.layer_norm(x + arrays["residual"], row, weight, bias, EPSILON),
        "rms_norm": lambda: functional.rms_norm(x, row, weight, EPSILON),
        "softmax": lambda: functional.softmax(x, -1),
        "log_softmax": lambda: functional.log_softmax(x, -1),
        "gelu": lambda: functional.gelu(x, approximate=p.option or "none"),
        "silu": lambda: functional.silu(x),
    }
    if p.function == "batch_norm":
        mean, variance = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
        calls["batch_norm"] = lambda: functional.batch_norm(x, mean, variance, weight, bias, True, 0.1, EPSILON)
    return {p.function: calls[p.function]}


def _backward(torch: Any, p: Any, arrays: Mapping[str, Any]) -> _Calls:
    aten, function = torch.ops.aten, p.function.removesuffix("_backward")
    x, weight, bias = arrays["input"], arrays.get("weight"), arrays.get("bias")
    grad = arrays.get("grad_out")
    inputs = {name: array.clone().requires_grad_() for name, array in arrays.items() if name != "grad_out"}
    with torch.enable_grad():
        (forward,) = _forward(torch, replace(p, function=function), inputs).values()
        result = forward()
    leaves = list(inputs.values())
    calls: _Calls = {"autograd": lambda: torch.autograd.grad(result, leaves, grad, retain_graph=True)}
    if function == "layer_norm":
        row = (x.shape[-1],)
        _, mean, scale = aten.native_layer_norm(x, row, weight, bias, EPSILON)
        calls["native_layer_norm_backward"] = lambda: aten.native_layer_norm_backward(
            grad, x, row, mean, scale, weight, bias, [True, True, True]
        )
    elif function == "batch_norm":
        _, mean, scale = aten.native_batch_norm(x, weight, bias, None, None, True, 0.1, EPSILON)
        calls["native_batch_norm_backward"] = lambda: aten.native_batch_norm_backward(
            grad, x, weight, None, None, mean, scale, True, EPSILON, [True, True, True]
        )
    elif function == "gelu":
        calls["gelu_backward"] = lambda: aten.gelu_backward(grad, x, approximate=p.option or "none")
    elif function == "silu":
        calls["silu_backward"] = lambda: aten.silu_backward(grad, x)
    return calls


def _given_out(torch: Any, p: Any, arrays: Mapping[str, Any], out: list[Any]) -> _Calls:
    aten = torch.ops.aten
    x, weight, bias = arrays["input"], arrays.get("weight"), arrays.get("bias")
    grad = arrays.get("grad_out")
    row = (x.shape[-1],)
    if "layer_norm" not in p.function:
        return {}
    _, mean, scale = aten.native_layer_norm(x, row, weight, bias, EPSILON)
    if p.function == "layer_norm":
        kept = torch.empty_like(mean), torch.empty_like(scale)
        return {
            "native_layer_norm.out": lambda: aten.native_layer_norm.out(
                x, row, weight, bias, EPSILON, out0=out[0], out1=kept[0], out2=kept[1]
            )[0]
        }
    return {
        "native_layer_norm_backward.out": lambda: aten.native_layer_norm_backward.out(
            grad, x, row, mean, scale, weight, bias, [True, True, True], out0=out[0], out1=out[1], out2=out[2]
        )
    }
