"""The numbers of torch.optim over a hundred steps. Run by `make test-peers`."""

import numpy as np
import pytest

from fastcore import nn

pytestmark = pytest.mark.peer

SGD = [
    {},
    {"weight_decay": 0.1, "maximize": True},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    {"momentum": 0.9, "nesterov": True, "maximize": True},
]
ADAM = [
    {},
    {"weight_decay": 0.2},
    {"weight_decay": 0.0, "betas": (0.5, 0.7), "eps": 1e-3, "maximize": True},
    {"amsgrad": True},
    {"amsgrad": True, "weight_decay": 0.1, "maximize": True},
]
CASES = [("SGD", each) for each in SGD] + [(name, each) for name in ("Adam", "AdamW") for each in ADAM]
TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name, options", CASES)
def test_hundred_steps_equal_torch(rng, name, options, dtype):
    torch = pytest.importorskip("torch")
    param, target = rng.normal(size=(2, 13, 7)).astype(dtype)
    tensor = torch.nn.Parameter(torch.from_numpy(param.copy()))
    theirs = getattr(torch.optim, name)([tensor], lr=0.01, **options)
    options = dict(options)
    if name == "SGD":
        update, states = nn.sgd_step, {"momentum_buffer": np.zeros_like(param)}
    else:
        update = nn.adam_step if name == "Adam" else nn.adamw_step
        names = ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"][: 3 if options.pop("amsgrad", False) else 2]
        states = {each: np.zeros_like(param) for each in names}
    for step in range(1, 101):
        noise = rng.normal(size=param.shape).astype(dtype)
        tensor.grad = tensor.detach() - torch.from_numpy(target + noise)
        theirs.step()
        update(param, param - (target + noise), step=step, lr=0.01, **states, **options)
    np.testing.assert_allclose(param, tensor.detach().numpy(), rtol=0, atol=TOLERANCE[dtype] * max(1, abs(param).max()))
    for each, state in theirs.state[tensor].items():
        if each in states and state is not None:
            np.testing.assert_allclose(
                states[each], state.numpy(), rtol=0, atol=TOLERANCE[dtype] * abs(states[each]).max()
            )
