"""The packing without weights, and the real model against frozen and fresh results of transformers."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cases import sentence_embeddings as plain
from examples import sentence_embeddings as example
from examples.sentence_embeddings import Config, Encoder, pack

HERE = Path(__file__).parent
SMALL = Config(layers=2, heads=3, hidden=24, intermediate=40, epsilon=1e-12, max_tokens=60)


def small_weights(config: Config) -> dict[str, np.ndarray]:
    """Random weights by BERT's names; large enough that attention and GELU are far from linear."""
    rng = np.random.default_rng(0)
    weights = {}

    def draw(name, *shape):
        weights[f"{name}.weight"] = rng.normal(size=shape).astype(np.float32)
        if len(shape) == 1 or not name.endswith("_embeddings"):
            weights[f"{name}.bias"] = rng.normal(size=shape[0]).astype(np.float32)

    for kind, count in (("word", 50), ("position", config.max_tokens), ("token_type", 2)):
        draw(f"embeddings.{kind}_embeddings", count, config.hidden)
    draw("embeddings.LayerNorm", config.hidden)
    for layer in (f"encoder.layer.{i}" for i in range(config.layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            draw(f"{layer}.attention.{part}", config.hidden, config.hidden)
        draw(f"{layer}.attention.output.LayerNorm", config.hidden)
        draw(f"{layer}.intermediate.dense", config.intermediate, config.hidden)
        draw(f"{layer}.output.dense", config.hidden, config.intermediate)
        draw(f"{layer}.output.LayerNorm", config.hidden)
    return weights


@pytest.mark.parametrize("lengths", [[], [1], [3, 3, 3], [2, 3, 5, 8], list(range(5, 120)), [40, 41, 42, 43, 44]])
def test_pack_gives_each_sentence_its_rows(lengths):
    blocks = pack(lengths)
    assert [n for block in blocks for n in block.lengths] == lengths
    taken = 0
    for block in blocks:
        assert block.rows.start == taken
        assert block.rows.stop == block.starts[-1] + block.width
        assert block.width == block.lengths[-1] <= example.BLOCK_STRETCH * block.lengths[0]
        assert (block.key_lengths is None) == (set(block.lengths) == {block.width})
        taken = block.rows.stop
    assert taken <= example.BLOCK_STRETCH * sum(lengths)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_encode_equals_the_textbook(rng, batch_size):
    weights = small_weights(SMALL)
    tokens = [rng.integers(0, 50, n) for n in [*rng.integers(1, 61, 25), 57, 58, 60]]
    exact = {name: x.astype(np.float64) for name, x in weights.items()}
    want = plain.plain_encode(SMALL, exact, plain.pad(np.arange(len(tokens)), tokens))
    got = Encoder(SMALL, weights).encode_tokens(tokens, batch_size)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_attention_weights_are_the_softmax_of_the_scores(rng):
    weights, tokens = small_weights(SMALL), rng.integers(0, 50, 9)
    encoder = Encoder(SMALL, weights)
    first, second = (encoder.attention_weights(tokens, layer) for layer in range(SMALL.layers))
    for found in (first, second):
        assert found.shape == (SMALL.heads, 9, 9)
        np.testing.assert_allclose(found.sum(axis=-1), 1, rtol=1e-5)
    names = [f"encoder.layer.0.attention.self.{part}" for part in ("query", "key")]
    hidden = weights["embeddings.word_embeddings.weight"][tokens] + weights["embeddings.position_embeddings.weight"][:9]
    hidden = hidden + weights["embeddings.token_type_embeddings.weight"][0]
    hidden = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + SMALL.epsilon)
    hidden = hidden * weights["embeddings.LayerNorm.weight"] + weights["embeddings.LayerNorm.bias"]
    query, key = (
        (hidden @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]).reshape(9, SMALL.heads, -1).swapaxes(0, 1)
        for name in names
    )
    scores = np.exp(query @ key.swapaxes(1, 2) / np.sqrt(query.shape[-1]))
    np.testing.assert_allclose(first, scores / scores.sum(axis=-1, keepdims=True), rtol=1e-3, atol=1e-5)
    assert not np.allclose(first, second)


def test_encode_of_nothing():
    assert Encoder(SMALL, small_weights(SMALL)).encode_tokens([]).shape == (0, SMALL.hidden)


def test_encode_without_a_tokenizer_says_so():
    with pytest.raises(ValueError, match="Sentences need a tokenizer"):
        Encoder(SMALL, small_weights(SMALL)).encode(["A cat sleeps."])


def test_batches_of_nothing_are_refused(capsys):
    with pytest.raises(SystemExit):
        example.main(["--batch-size", "0"])
    assert "--batch-size must be at least 1; got 0" in capsys.readouterr().err


def test_nearest_is_another_sentence():
    embeddings = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
    assert example.nearest(embeddings, 2) == [(0, 2, pytest.approx(0.6)), (1, 2, pytest.approx(0.8))]


def test_missing_packages_are_named(monkeypatch, capsys):
    monkeypatch.setattr(example, "find_spec", lambda module: None if module == "tokenizers" else object())
    assert example.main([]) == 1
    assert capsys.readouterr().err == "This example needs tokenizers. Install with: pip install tokenizers\n"


def test_missing_file_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(Encoder, "load", lambda: None)
    assert example.main([str(tmp_path / "none.txt")]) == 1
    assert "none.txt" in capsys.readouterr().err


@pytest.fixture(scope="module")
def encoder():
    for module in example.REQUIREMENTS:
        pytest.importorskip(module)
    return Encoder.load()


@pytest.fixture(scope="module")
def frozen():
    with np.load(HERE / "data" / "sentence_embeddings.npz") as file:
        return list(file["sentences"]), file["embeddings"]


@pytest.mark.peer
def test_encode_equals_frozen_results_of_transformers(encoder, frozen):
    sentences, want = frozen
    np.testing.assert_allclose(encoder.encode(sentences), want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(sentences[::-1], 3), want[::-1], rtol=0, atol=1e-6)


@pytest.mark.peer
@pytest.mark.filterwarnings("default")  # deprecations inside of the libraries
def test_encode_equals_transformers(encoder):
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("freeze_expected", HERE / "freeze_expected.py")
    freeze = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(freeze)
    sentences = example.read_sentences(example.SENTENCES)
    np.testing.assert_allclose(encoder.encode(sentences), freeze.embed(sentences), rtol=0, atol=1e-6)


@pytest.mark.peer
def test_configuration_of_the_benchmark_is_the_models(encoder):
    assert encoder.config == plain.SIZES


@pytest.mark.peer
def test_command_line_writes_embeddings_and_prints_neighbours(encoder, tmp_path, capsys):
    text, out = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("A cat sleeps.\n\nShares fell.\n  A kitten is napping.\n", encoding="utf-8")
    assert example.main([str(text), "--out", str(out)]) == 0
    with np.load(tmp_path / "out.npz") as file:
        assert list(file["sentences"]) == ["A cat sleeps.", "Shares fell.", "A kitten is napping."]
        np.testing.assert_allclose(np.linalg.norm(file["embeddings"], axis=1), 1, rtol=1e-6)
    printed = capsys.readouterr().out
    assert "3 sentences, 384 features" in printed
    row = next(line for line in printed.splitlines() if line.strip().startswith("A cat sleeps."))
    assert "A kitten is napping." in row
