"""Reading GGUF files, on one that is written here."""

import numpy as np
import pytest

from examples.smollm2.blocks import BlockMatrix
from examples.smollm2.model import Model
from examples.smollm2.tokenizer import Tokenizer, characters_of_bytes
from examples.smollm2.weights import GGUF, Config

SMALL = Config(
    layers=2, heads=4, kv_heads=2, hidden=32, intermediate=64, head_dim=8, epsilon=1e-5, rope_base=1e4, context=64
)
VOCABULARY = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *characters_of_bytes(), "he"]
PARTS = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
PARTS |= {"ffn_gate": (64, 32), "ffn_up": (64, 32), "ffn_down": (32, 64), "attn_norm": (32,), "ffn_norm": (32,)}


@pytest.fixture(scope="module")
def write():
    """A function that writes a file: its path, architecture, types of arrays by name that differ, its tokenizer."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("tokenizers")

    def write_file(path, architecture="llama", kinds=None, leave_out=(), tokenizer="smollm"):
        rng = np.random.default_rng(0)
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_block_count(SMALL.layers)
        writer.add_head_count(SMALL.heads)
        writer.add_head_count_kv(SMALL.kv_heads)
        writer.add_embedding_length(SMALL.hidden)
        writer.add_feed_forward_length(SMALL.intermediate)
        writer.add_layer_norm_rms_eps(SMALL.epsilon)
        writer.add_rope_freq_base(SMALL.rope_base)
        writer.add_context_length(SMALL.context)
        if tokenizer:
            writer.add_tokenizer_pre(tokenizer)
        writer.add_token_list(VOCABULARY)
        writer.add_token_merges(["h e"])
        writer.add_token_types([3] * 3 + [1] * (len(VOCABULARY) - 3))
        shapes = {f"blk.{i}.{part}": shape for i in range(SMALL.layers) for part, shape in PARTS.items()}
        for name, shape in (shapes | {"token_embd": (len(VOCABULARY), 32), "output_norm": (32,)}).items():
            kind = (kinds or {}).get(name.split(".")[-1], gguf.GGMLQuantizationType.F32)
            if name not in leave_out:
                values = gguf.quantize(rng.normal(size=shape).astype(np.float32), kind)
                writer.add_tensor(f"{name}.weight", values, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write_file


def test_configuration_and_tokenizer_are_the_files(write, tmp_path):
    file = GGUF(write(tmp_path / "small.gguf"))
    config = file.weights().config
    assert config == pytest.approx(SMALL)
    assert [type(value) for value in config] == [type(value) for value in SMALL]
    assert Tokenizer.read(file).encode("he") == [len(VOCABULARY) - 1]


def test_weights_in_blocks_give_the_results_of_float32(write, tmp_path):
    gguf = pytest.importorskip("gguf")
    eight = gguf.GGMLQuantizationType.Q8_0
    # The values of attn_v stay in float32, so that its matrix has parts of two kinds.
    kinds = dict.fromkeys(["attn_q", "attn_k", "ffn_gate", "ffn_up", "ffn_down", "token_embd"], eight)
    weights = GGUF(write(tmp_path / "blocks.gguf", kinds=kinds)).weights()
    assert isinstance(weights.layers[0].gate_up, BlockMatrix)
    assert isinstance(weights.head, BlockMatrix)
    assert isinstance(weights.layers[0].query_key_value, np.ndarray)
    np.testing.assert_array_equal(weights.embeddings[np.array([5, 7])], weights.head.astype(np.float32).T[[5, 7]])
    layers = [type(layer)(*(part.astype(np.float32) for part in layer)) for layer in weights.layers]
    dense = weights._replace(layers=layers, head=weights.head.astype(np.float32))
    tokens = np.arange(9)
    got, want = (
        model.logits(model(tokens, tokens, lambda layer, query, key, value: query))
        for model in (Model(weights), Model(dense))
    )
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize(
    "options, message",
    [
        ({"architecture": "gpt2"}, "must hold a Llama with tied embeddings, as SmolLM2 is. Got gpt2."),
        ({"tokenizer": "qwen2"}, "must have SmolLM2's tokenizer, which GGUF calls smollm. Got qwen2."),
        ({"tokenizer": None}, "must have tokenizer.ggml.pre"),
        ({"leave_out": ["blk.1.ffn_up"]}, "must have blk.1.ffn_up.weight, as GGUF files of Llama do; it has not."),
        ({"leave_out": ["token_embd"]}, "must have token_embd.weight"),
    ],
)
def test_another_file_is_refused(write, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        GGUF(write(tmp_path / "other.gguf", **options)).weights()


def test_a_file_cut_off_is_refused(write, tmp_path):
    path = write(tmp_path / "whole.gguf")
    content = path.read_bytes()
    for kept in (20, 600, len(content) // 2, len(content) - 40):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=r"whole\.gguf must be a GGUF file, whole"):
            GGUF(path)
