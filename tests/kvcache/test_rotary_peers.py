"""The same numbers as transformers' own functions. Run by `make test-peers`."""

import numpy as np
import pytest

from fastcore.kvcache.rotary import rotary_embedding

pytestmark = pytest.mark.peer

SIZE = 64
TRAINED = {"original_max_position_embeddings": 2048}
SCALINGS = {
    "default": {"rope_type": "default"},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, **TRAINED},
    "yarn": {"rope_type": "yarn", "factor": 4.0, **TRAINED},
    "yarn, attention_factor": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.8, **TRAINED},
    "yarn, mscale": {
        "rope_type": "yarn",
        "factor": 40.0,
        "beta_fast": 24.0,
        "beta_slow": 2.0,
        "mscale": 0.7,
        "mscale_all_dim": 1.2,
        "truncate": False,
        **TRAINED,
    },
}


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("transformers")
    return pytest.importorskip("torch")


def llama_angles(torch, scaling, base):
    """Frequencies and factor of transformers' Llama, as its rotary module has them."""
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(
        hidden_size=4 * SIZE,
        num_attention_heads=4,
        head_dim=SIZE,
        max_position_embeddings=int(2048 * scaling.get("factor", 1.0)),
        rope_parameters={**scaling, "rope_theta": base},
    )
    return LlamaRotaryEmbedding(config)


# transformers computes angles in float32: at positions below 4000 they are off by up to 4e-4.
NEAR, NEAR_BOUND = range(0, 64), 2e-5
FAR, FAR_BOUND = range(3900, 3964), 2e-3


@pytest.mark.parametrize("positions, bound", [(NEAR, NEAR_BOUND), (FAR, FAR_BOUND)], ids=["near", "far"])
@pytest.mark.parametrize("base", [10000.0, 500000.0])
@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_rotary_halves_equal_llama_in_transformers(rng, torch, scaling, base, positions, bound):
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    query, key = rng.normal(size=(2, 2, 4, len(positions), SIZE)).astype(np.float32)
    places = torch.arange(positions.start, positions.stop)[None].expand(2, -1)
    cos, sin = llama_angles(torch, scaling, base)(torch.from_numpy(query), places)
    wanted = apply_rotary_pos_emb(torch.from_numpy(query), torch.from_numpy(key), cos, sin)
    for x, want in zip((query, key), wanted):
        got = rotary_embedding(x, places.numpy(), base=base, scaling=scaling)
        np.testing.assert_allclose(got, want.numpy(), rtol=0, atol=bound)


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_rotary_equals_transformers_frequencies_in_float64(rng, torch, scaling):
    """Their frequencies, angles in float64: what is left is the rounding of the frequencies to float32."""
    module = llama_angles(torch, scaling, 10000.0)
    angles = np.arange(3900, 3964)[:, None] * module.inv_freq.numpy().astype(np.float64)
    cos, sin = (np.tile(module.attention_scaling * f(angles), 2) for f in (np.cos, np.sin))
    x = rng.normal(size=(3, 64, SIZE))
    turned = np.concatenate([-x[..., SIZE // 2 :], x[..., : SIZE // 2]], -1)
    got = rotary_embedding(x, np.arange(3900, 3964), scaling=scaling)
    np.testing.assert_allclose(got, x * cos + turned * sin, rtol=0, atol=4000 * 2.0**-23 * 4)


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
def test_rotary_interleaved_equals_gptj_in_transformers(rng, torch, scaling):
    """GPT-J's rotation, with (B, T, H, D) in memory, by the frequencies of each scaling."""
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb

    module = llama_angles(torch, scaling, 10000.0)
    x = rng.normal(size=(2, len(NEAR), 3, SIZE)).astype(np.float32)
    angles = torch.arange(len(NEAR), dtype=torch.float32)[:, None] * module.inv_freq
    sin, cos = ((module.attention_scaling * f(angles))[None] for f in (torch.sin, torch.cos))
    want = apply_rotary_pos_emb(torch.from_numpy(x), sin, cos).numpy()
    got = rotary_embedding(x.swapaxes(1, 2), NEAR, interleaved=True, scaling=scaling).swapaxes(1, 2)
    np.testing.assert_allclose(got, want, rtol=0, atol=NEAR_BOUND)


@pytest.mark.parametrize("rotary_dim", [16, SIZE])
def test_rotary_interleaved_equals_gptj_positions_in_transformers(rng, torch, rotary_dim):
    """GPT-J rotates the first `rotary_dim` elements and appends the others."""
    from transformers.models.gptj.modeling_gptj import apply_rotary_pos_emb, create_sinusoidal_positions

    x = rng.normal(size=(2, 50, 3, SIZE)).astype(np.float32)
    sin, cos = create_sinusoidal_positions(50, rotary_dim)[None].split(rotary_dim // 2, dim=-1)
    rotated = apply_rotary_pos_emb(torch.from_numpy(x[..., :rotary_dim]), sin, cos).numpy()
    want = np.concatenate([rotated, x[..., rotary_dim:]], -1)
    got = rotary_embedding(x.swapaxes(1, 2), range(50), interleaved=True, rotary_dim=rotary_dim)
    np.testing.assert_allclose(got.swapaxes(1, 2), want, rtol=0, atol=NEAR_BOUND)
