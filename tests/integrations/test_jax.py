"""fastcore's attention of JAX's arrays: under jit, grad and vmap."""

import subprocess
import sys

import numpy as np
import pytest

jax = pytest.importorskip("jax")
pytestmark = pytest.mark.peer

import jax.numpy as jnp  # noqa: E402

import fastcore  # noqa: E402
from fastcore.integrations.jax import scaled_dot_product_attention  # noqa: E402


@pytest.fixture
def arrays(rng):
    """query, key, value (B, H, L, D)."""
    return [jnp.asarray(rng.standard_normal((2, 3, 9, 8), dtype=np.float32)) for _ in range(3)]


def by_hand(q, k, v, mask=None, is_causal=False, sinks=None):
    """Attention written out."""
    k, v = (jnp.repeat(x, q.shape[-3] // x.shape[-3], -3) for x in (k, v))
    scores = q @ jnp.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask
    if is_causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    if sinks is not None:
        more = jnp.broadcast_to(sinks[:, None, None], (*scores.shape[:-1], 1))
        return jax.nn.softmax(jnp.concatenate([scores, more], -1))[..., :-1] @ v
    return jax.nn.softmax(scores) @ v


def loss(attention, **options):
    return lambda *arguments: jnp.sum(jnp.sin(attention(*arguments, **options)))


def close(actual, expected, tolerance=5e-6):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("is_causal", [False, True])
def test_attention_equals_jax(arrays, jit, is_causal):
    def run(q, k, v):
        return scaled_dot_product_attention(q, k, v, is_causal=is_causal)

    heads_last = [jnp.swapaxes(x, 1, 2) for x in arrays]
    expected = jnp.swapaxes(jax.nn.dot_product_attention(*heads_last, is_causal=is_causal), 1, 2)
    close((jax.jit(run) if jit else run)(*arrays), expected)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_attention_halves_keep_their_type(arrays, dtype):
    q, k, v = (x.astype(dtype) for x in arrays)
    out, gradient = jax.value_and_grad(loss(scaled_dot_product_attention))(q, k, v)
    assert scaled_dot_product_attention(q, k, v).dtype == gradient.dtype == dtype
    close(float(out), float(loss(by_hand)(*arrays)), 0.3)


@pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8), (2, 2, 3, 9, 8)])
def test_attention_other_numbers_of_axes(rng, shape):
    q, k, v = (jnp.asarray(rng.standard_normal(shape, dtype=np.float32)) for _ in range(3))
    close(scaled_dot_product_attention(q, k, v), fastcore.scaled_dot_product_attention(*map(np.asarray, (q, k, v))))
    close(
        jax.grad(loss(scaled_dot_product_attention))(q, k, v),
        jax.grad(loss(lambda *x: jax.nn.softmax(x[0] @ jnp.swapaxes(x[1], -1, -2) / np.sqrt(8)) @ x[2]))(q, k, v),
    )


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_equal_those_by_hand(arrays, rng, jit):
    q, k, v = arrays[0], arrays[1][:, :1], arrays[2][:, :1]
    mask = jnp.asarray(rng.standard_normal((1, 3, 9, 9), dtype=np.float32))
    sinks = jnp.asarray(rng.standard_normal(3, dtype=np.float32))

    def ours(q, k, v, mask, sinks):
        return jnp.sum(jnp.sin(scaled_dot_product_attention(q, k, v, mask, is_causal=True, sinks=sinks)))

    def expected(q, k, v, mask, sinks):
        return jnp.sum(jnp.sin(by_hand(q, k, v, mask, True, sinks)))

    derivative = jax.grad(ours, (0, 1, 2, 3, 4))
    found = (jax.jit(derivative) if jit else derivative)(q, k, v, mask, sinks)
    for actual, each in zip(found, jax.grad(expected, (0, 1, 2, 3, 4))(q, k, v, mask, sinks)):
        close(actual, each, 2e-5)


def test_bool_mask_and_lengths_have_no_derivative(arrays, rng):
    mask = jnp.asarray(rng.random((9, 9)) < 0.7)
    lengths = jnp.asarray([9, 9])

    def ours(q, k, v):
        return jnp.sum(jnp.sin(scaled_dot_product_attention(q, k, v, mask, key_lengths=lengths)))

    close(jax.grad(ours)(*arrays), jax.grad(loss(lambda *x: by_hand(*x, mask)))(*arrays), 2e-5)


@pytest.mark.parametrize("axes", [(0, 0, 0), (1, None, 2), (None, 0, None)])
@pytest.mark.parametrize("option", [None, "attn_mask", "key_lengths"])
def test_vmap_equals_one_by_one(arrays, rng, axes, option):
    stacked = [x if a is None else jnp.stack([x, x + 1, x * 2], a) for x, a in zip(arrays, axes)]
    more = {
        None: None,
        "attn_mask": jnp.asarray(rng.standard_normal((3, 9, 9), dtype=np.float32)),
        "key_lengths": jnp.asarray([[3, 4], [5, 6], [7, 9]]),
    }[option]

    def run(q, k, v, x):
        return jax.value_and_grad(
            lambda q, k, v: jnp.sum(jnp.sin(scaled_dot_product_attention(q, k, v, **({option: x} if option else {})))),
            (0, 1, 2),
        )(q, k, v)

    value, gradients = jax.jit(jax.vmap(run, (*axes, None if more is None else 0)))(*stacked, more)
    for i in range(3):
        one = [x if a is None else jnp.take(x, i, a) for x, a in zip(stacked, axes)]
        expected, by = run(*one, None if more is None else more[i])
        close(value[i], expected, 1e-4)
        for actual, each in zip(gradients, by):
            close(actual[i], each, 2e-5)


def test_jacrev_equals_the_one_by_hand(arrays):
    q, k, v = (x[:1, :1, :4] for x in arrays)
    close(jax.jacrev(scaled_dot_product_attention)(q, k, v), jax.jacrev(by_hand)(q, k, v), 1e-5)


def test_dropout_is_that_of_the_seed(arrays):
    run = jax.jit(lambda q, k, v, seed: scaled_dot_product_attention(q, k, v, dropout_p=0.5, seed=seed))
    expected = fastcore.scaled_dot_product_attention(*map(np.asarray, arrays), dropout_p=0.5, seed=7)
    np.testing.assert_array_equal(run(*arrays, jnp.uint32(7)), expected)
    assert not np.array_equal(run(*arrays, jnp.uint32(8)), expected)


def test_large_arrays_under_jit_do_not_wait_for_each_other(rng):
    q = jnp.asarray(rng.standard_normal((1, 8, 1024, 64), dtype=np.float32))
    run = jax.jit(lambda q: jnp.sum(scaled_dot_product_attention(q * 2, q + 1, q @ jnp.eye(64), is_causal=True)))
    assert np.isfinite(run(q))
    assert np.isfinite(jax.jit(jax.grad(run))(q)).all()


@pytest.mark.parametrize(
    "change, error, message",
    [
        (lambda q, k, v: (q, k.astype(jnp.float16), v), TypeError, "must have one dtype"),
        (lambda q, k, v: (q, k[:, :2], v[:, :2]), ValueError, "must be a multiple of it"),
        (lambda q, k, v: (q, k, v, jnp.ones((4, 4), bool)), ValueError, "attn_mask must broadcast"),
        (lambda q, k, v: (q, k, v, None, 0.5), ValueError, "seed must be given"),
        (lambda q, k, v: (q, k, v, None, 2.0), ValueError, "dropout_p must lie"),
        (lambda q, k, v: (jnp.ones(q.shape, int),) * 3, TypeError, "must be float32"),
    ],
)
def test_wrong_argument_raises_while_tracing(arrays, change, error, message):
    with pytest.raises(error, match=message):
        jax.jit(lambda *x: scaled_dot_product_attention(*change(*x)))(*arrays)


def test_forward_mode_raises(arrays):
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(scaled_dot_product_attention, arrays, arrays)


def test_import_without_jax_names_the_extra():
    code = "import sys; sys.modules['jax'] = None; import fastcore.integrations.jax"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs JAX. Install it: pip install 'fastcore-kernels[jax]'" in done.stderr
