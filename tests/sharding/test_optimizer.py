"""ZeRO: the unsharded step, the paper's memory and traffic."""

import dataclasses

import ml_dtypes
import numpy as np
import pytest

import fastcore
from fastcore.reference import adam_step, adamw_step, sgd_step
from fastcore.sharding import SGD, Adam, AdamW, Mesh, P, ParallelMLP, ZeroOptimizer

SHAPES = {"weight": (7, 5), "bias": (5,), "one": (1,)}
RULES = [
    Adam(lr=0.02, weight_decay=0.1),
    AdamW(lr=0.02, betas=(0.8, 0.95), eps=1e-6),
    SGD(lr=0.1, weight_decay=0.01),
    SGD(lr=0.1, momentum=0.9, dampening=0.3),
    SGD(lr=0.1, momentum=0.9, nesterov=True),
]


def unsharded_step(rule, step, param, grad, state):
    """The twin: param and state after a step."""
    param, state = param.copy(), {name: state.get(name, np.zeros_like(param)) for name in rule.states}
    options = dataclasses.asdict(rule)
    if isinstance(rule, SGD):
        return sgd_step(param, grad, state.get("momentum_buffer"), step, **options), state
    update = adamw_step if isinstance(rule, AdamW) else adam_step
    return update(param, grad, *state.values(), step, **options), state


def per_device(mesh, gradients, spec):
    """A gradient that differs along dp as a backward leaves it: `gradients` (dp, *shape), each in blocks of `spec`."""
    whole = [mesh.put(each, spec, pad=True) for each in gradients]
    result = mesh.empty(gradients.shape[1:], gradients.dtype, spec, pad=True)
    index = mesh.axis_index("dp").local
    for device in range(mesh.n_local):
        result.local[device] = whole[index[device]].local[device]
    return result


def assert_equal(actual, expected, bound=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound * np.abs(expected).max(initial=1.0))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_zero_step_equals_the_unsharded_step(rng, devices, stage, rule):
    mesh = Mesh({"dp": devices})
    expected = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    zero = ZeroOptimizer({name: mesh.put(each) for name, each in expected.items()}, rule, stage=stage)
    states = {name: {} for name in SHAPES}
    for step in (1, 2, 3):
        for name, shape in SHAPES.items():
            gradients = rng.standard_normal((devices, *shape))
            zero.accumulate({name: per_device(mesh, gradients, P())})
            expected[name], states[name] = unsharded_step(
                rule, step, expected[name], gradients.mean(axis=0), states[name]
            )
        zero.step()
    for name, whole in zero.gather().items():
        assert_equal(whole.gather(), expected[name])
        for key, part in zero.state[name].items():
            assert_equal(part.gather()[: expected[name].size], states[name][key].ravel())
            assert not part.gather()[expected[name].size :].any()


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("axes", [{"dp": 2, "tp": 2}, {"tp": 4, "dp": 2}, {"dp": 3, "tp": 2}, {"dp": 2, "tp": 3}])
def test_zero_with_parameters_split_over_another_axis_equals_the_unsharded_step(rng, axes, stage):
    mesh = Mesh(axes)
    rule, spec = AdamW(lr=0.1), P(None, "tp")
    start, gradients = rng.standard_normal((7, 5)), rng.standard_normal((axes["dp"], 7, 5))
    zero = ZeroOptimizer({"w": mesh.put(start, spec, pad=True)}, rule, stage=stage)
    zero.accumulate({"w": per_device(mesh, gradients, spec)})
    zero.step()
    assert_equal(zero.gather("w")["w"].gather(), unsharded_step(rule, 1, start, gradients.mean(axis=0), {})[0])


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_adds_up_over_several_axes_but_not_over_those_that_split_the_parameter(rng, stage):
    mesh = Mesh({"dp": 2, "sp": 3})
    start = {"shared": rng.standard_normal(5), "experts": rng.standard_normal((6, 2))}
    gradients = {"shared": rng.standard_normal((2, 5)), "experts": rng.standard_normal((2, 6, 2))}
    specs = {"shared": P(), "experts": P("sp")}
    zero = ZeroOptimizer(
        {name: mesh.put(start[name], specs[name]) for name in start}, SGD(lr=1.0), stage=stage, axis=("dp", "sp")
    )
    zero.accumulate({name: per_device(mesh, gradients[name], specs[name]) for name in start})
    zero.step(scale=0.5)
    for name, times in (("shared", 3), ("experts", 1)):
        expected = start[name] - 0.5 * times * gradients[name].sum(axis=0)
        assert_equal(zero.gather(name)[name].gather(), expected)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_of_micro_batches_equals_one_batch(rng, stage):
    mesh = Mesh({"dp": 3})
    start, gradients = rng.standard_normal(10), rng.standard_normal((4, 3, 10))
    zero = ZeroOptimizer({"w": mesh.put(start)}, SGD(lr=1.0), stage=stage)
    given = [per_device(mesh, each, P()) for each in gradients]
    before = [each.local.copy() for each in given]
    for each in given:
        zero.accumulate({"w": each})
    zero.step(scale=1 / 12)
    assert_equal(zero.gather()["w"].gather(), start - gradients.mean(axis=(0, 1)))
    for each, values in zip(given, before):
        np.testing.assert_array_equal(each.local, values)


def test_zero_stages_and_threads_give_the_same_bits(rng):
    start, gradients = rng.standard_normal((31, 7)), rng.standard_normal((4, 31, 7))
    results = set()
    for stage in (1, 2, 3):
        for threads in (1, 2):
            with fastcore.num_threads(threads):
                mesh = Mesh({"dp": 4})
                zero = ZeroOptimizer({"w": mesh.put(start)}, Adam(), stage=stage)
                for _ in range(3):
                    zero.accumulate({"w": per_device(mesh, gradients, P())})
                    zero.step()
                results.add(zero.gather()["w"].gather().tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("rule", [Adam(weight_decay=0.1), SGD(), SGD(momentum=0.9)], ids=str)
def test_zero_of_one_large_block_shared_by_threads_has_the_same_bits(rng, rule):
    start = rng.standard_normal(100_001)
    results = set()
    for threads in (1, 2):
        with fastcore.num_threads(threads):
            for devices in (1, 2, 8):
                mesh = Mesh({"dp": devices})
                zero = ZeroOptimizer({"w": mesh.put(start)}, rule, stage=3)
                gradient = mesh.zeros(start.shape, start.dtype)
                gradient.local[0] = start[::-1]  # one device's alone, so that the sum is exact
                zero.accumulate({"w": gradient})
                zero.step(scale=1.0)
                results.add(zero.gather()["w"].gather().tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("axes", [{"dp": 2, "tp": 2}, {"dp": 3, "tp": 2}, {"dp": 4, "tp": 3}])
def test_zero_trains_a_tensor_parallel_layer_as_one_device_does(rng, axes, stage):
    shapes = {"up_weight": (4, 5), "up_bias": (5,), "down_weight": (5, 4), "down_bias": (4,)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    batches = rng.standard_normal((3, 2, 7, 2, 4))  # steps; x and the gradient of y: rows, which do not divide
    results = []
    for each in (axes, {"dp": 1, "tp": 1}):
        mesh = Mesh(each)
        layer = ParallelMLP(mesh, weights)
        zero = ZeroOptimizer(layer.params, AdamW(lr=0.1), stage=stage)
        for x, grad_y in batches:
            layer.params.update(zero.gather())
            _, saved = layer.forward(mesh.put(x, "dp", pad=True))
            zero.accumulate(layer.backward(saved, mesh.put(grad_y, "dp", pad=True))[1])
            zero.step(scale=1 / len(x))
        results.append({name: param.gather() for name, param in zero.gather().items()})
    for name, expected in results[1].items():
        assert_equal(results[0][name], expected)


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_zero_of_short_floats_keeps_float32_states(rng, dtype, stage):
    mesh = Mesh({"dp": 3})
    start = rng.standard_normal((6, 4)).astype(dtype)
    gradients = rng.standard_normal((3, 6, 4)).astype(dtype)
    zero = ZeroOptimizer({"w": mesh.put(start)}, AdamW(lr=0.1), stage=stage)
    exact, state = start.astype(float), {}
    for step in (1, 2):
        zero.accumulate({"w": per_device(mesh, gradients, P())})
        zero.step()
        exact, state = unsharded_step(AdamW(lr=0.1), step, exact, gradients.astype(float).mean(axis=0), state)
    whole = zero.gather()["w"].gather()
    assert whole.dtype == dtype
    assert zero.state["w"]["exp_avg"].dtype == np.float32
    assert_equal(whole.astype(float), exact, {"float16": 2e-3, "bfloat16": 2e-2}.get(np.dtype(dtype).name, 1e-6))


def train_once(mesh, stage, *, layers=16, size=240, dtype=np.float32):
    """A step over equal layers, a gradient at a time, as a backward makes them. Returns bytes a device at the peak."""
    params = {f"layer {i}": mesh.zeros((size,), dtype) for i in range(layers)}
    zero = ZeroOptimizer(params, Adam(), stage=stage)
    del params
    mesh.ledger.reset()
    for passes in (range(layers), reversed(range(layers))):  # forward, backward
        for i in passes:
            whole = zero.gather(f"layer {i}")
            if isinstance(passes, range):
                continue
            gradient = mesh.zeros((size,), dtype)
            del whole
            zero.accumulate({f"layer {i}": gradient})
            del gradient
    zero.step()
    return mesh.ledger.peak_bytes(mesh)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_zero_memory_is_the_papers(devices, stage, dtype):
    layers, size = 16, 240
    p, state = (4, 8) if dtype == np.float32 else (2, 12)
    elements = layers * size
    n = devices
    expected = {
        1: (2 * p + state / n) * elements,
        2: (p + (p + state) / n) * elements,
        3: ((2 * p + state) if p == 4 else (p + state)) / n * elements,
    }[stage]
    held = train_once(Mesh({"dp": n}, engine="dry"), stage, layers=layers, size=size, dtype=dtype)
    # Blocks of one parameter on its way: as a row, gathered or scattered, cast to float32, and the index of the device.
    assert expected <= held <= expected + 3 * 4 * size + 8


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_zero_sends_what_the_paper_says(devices, stage):
    mesh = Mesh({"dp": devices}, engine="dry")
    train_once(mesh, stage, layers=16, size=240)
    sent = sum(entry.sent_bytes for entry in mesh.ledger.entries)
    psi = 16 * 240 * 4
    assert sent == devices * (3 if stage == 3 else 2) * (devices - 1) * psi // devices


def test_zero_dry_has_the_same_entries_as_simulated():
    entries = []
    for engine in ("simulated", "dry"):
        mesh = Mesh({"dp": 3}, engine=engine)
        train_once(mesh, 3, layers=2, size=10)
        entries.append([entry._replace(mesh=None) for entry in mesh.ledger.entries[:]])
    assert entries[0] == entries[1]


def test_zero_of_parameters_on_several_meshes(rng):
    mesh = Mesh({"pp": 2, "dp": 2})
    stages = [mesh.at(pp=0), mesh.at(pp=1)]
    start = rng.standard_normal((2, 5))
    zero = ZeroOptimizer({str(i): stages[i].put(start[i]) for i in range(2)}, SGD(lr=1.0), stage=3)
    zero.accumulate({str(i): stages[i].put(np.ones(5)) for i in range(2)})
    zero.step()
    for i in range(2):
        assert_equal(zero.gather()[str(i)].gather(), start[i] - 1.0)


# --- mistakes ---


@pytest.fixture
def params():
    mesh = Mesh({"dp": 2})
    return {"w": mesh.zeros((4,), np.float64), "b": mesh.zeros((2,), np.float64)}


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"stage": 4}, ValueError, "stage must be 1 .* Got 4"),
        ({"stage": 1.5}, TypeError, "stage"),
        ({"axis": "tp"}, ValueError, "'tp' is not an axis of the mesh"),
        ({"rule": AdamW}, TypeError, r"Write AdamW\(\)"),
        ({"rule": "adam"}, TypeError, "rule must be an Adam, AdamW or SGD"),
        ({"params": [1]}, TypeError, "params must map names"),
        ({"params": {"w": np.zeros(3)}}, TypeError, "must be a ShardedArray"),
        ({"params": {"w": Mesh({"dp": 2}).zeros((4,), np.int64)}}, TypeError, "float dtype"),
        ({"params": {"w": Mesh({"dp": 2}).zeros((), np.float64)}}, ValueError, "at least one axis"),
    ],
)
def test_zero_wrong_argument_raises(params, arguments, error, message):
    with pytest.raises(error, match=message):
        ZeroOptimizer(**{"params": params, "rule": AdamW()} | arguments)


def test_zero_wrong_gradients_raise_and_leave_the_optimiser_as_it_was(params):
    zero = ZeroOptimizer(params, AdamW(), stage=2)
    mesh = params["w"].mesh
    with pytest.raises(ValueError, match="grads must be names of parameters"):
        zero.accumulate({"x": params["w"]})
    with pytest.raises(ValueError, match=r"grads\['b'\] must be laid out as its parameter"):
        zero.accumulate({"w": params["w"], "b": params["w"]})
    with pytest.raises(TypeError, match="must be a ShardedArray"):
        zero.accumulate({"w": np.zeros(4)})
    with pytest.raises(TypeError, match="float dtype"):
        zero.accumulate({"w": mesh.zeros((4,), np.int32)})
    with pytest.raises(ValueError, match="Missing: w, b"):
        zero.step()
    with pytest.raises(ValueError, match="names must be names of parameters"):
        zero.gather("v")
    zero.accumulate({"w": params["w"], "b": params["b"]})
    with pytest.raises(ValueError, match="scale must not be negative"):
        zero.step(scale=-1.0)
    assert zero.steps == 0


@pytest.mark.parametrize(
    "make, error, message",
    [
        (lambda: Adam(lr=-1.0), ValueError, "lr must not be negative"),
        (lambda: AdamW(betas=(0.9, 1.0)), ValueError, r"betas\[1\] must lie in \[0, 1\)"),
        (lambda: AdamW(betas=0.9), TypeError, "betas must be two numbers"),
        (lambda: Adam(eps="x"), TypeError, "eps must be a real number"),
        (lambda: SGD(nesterov=True), ValueError, "nesterov needs momentum above 0"),
        (lambda: SGD(momentum=0.9, dampening=0.1, nesterov=True), ValueError, "nesterov needs momentum above 0"),
        (lambda: SGD(weight_decay=-0.1), ValueError, "weight_decay must not be negative"),
    ],
)
def test_rule_wrong_argument_raises(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.peer
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_zero_equals_pytorch(rng, rule):
    torch = pytest.importorskip("torch")
    start, gradients = rng.standard_normal((7, 5)), rng.standard_normal((4, 7, 5))
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    options = dataclasses.asdict(rule)
    optimizer = getattr(torch.optim, type(rule).__name__)([theirs], **options)
    mesh = Mesh({"dp": 3})
    zero = ZeroOptimizer({"w": mesh.put(start)}, rule, stage=2)
    for gradient in gradients:
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
        zero.accumulate({"w": mesh.put(gradient)})
        zero.step()
    assert_equal(zero.gather()["w"].gather(), theirs.detach().numpy())
