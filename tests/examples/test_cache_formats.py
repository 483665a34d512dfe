"""Exactness of cache formats, measured on a small model."""

from itertools import pairwise

import numpy as np
import pytest

from examples import cache_formats, generate
from examples.smollm2.model import Model
from tests.examples.small_model import VOCABULARY, small_tokenizer, small_weights, textbook


@pytest.fixture
def small(monkeypatch):
    """A small model, which is then the one that is loaded."""
    pytest.importorskip("tokenizers")
    language = generate.Language(Model(small_weights()), small_tokenizer())
    monkeypatch.setattr(generate.Language, "load", lambda path=None: language)
    return language.model


def test_perplexity_is_that_of_the_textbook(small, rng):
    tokens = rng.integers(0, len(VOCABULARY), 60)
    logits = textbook(small_weights(), tokens.tolist())[:-1]
    surprise = np.log(np.exp(logits).sum(1)) - logits[np.arange(59), tokens[1:]]
    without, (float32,) = cache_formats.measure(small, tokens, ["f32"])
    assert without == pytest.approx(np.exp(surprise.mean()), rel=1e-5)
    assert float32.perplexity == pytest.approx(without, rel=1e-5)


def test_errors_grow_as_bytes_shrink(small, rng):
    tokens = rng.integers(0, len(VOCABULARY), 60)
    _, results = cache_formats.measure(small, tokens, ["f32", "f16", "int8", "int4"])
    sizes, errors = [each.bytes_per_token for each in results], [each.mean_error for each in results]
    assert sizes == sorted(sizes, reverse=True)
    assert all((less < more).all() for less, more in pairwise(errors))
    assert errors[0].max() < 1e-6
    assert errors[2].max() < 2e-2
    assert all((each.largest_error >= each.mean_error).all() for each in results)


def test_command_line_prints_the_tables(small, tmp_path, capsys):
    file = tmp_path / "text.txt"
    file.write_text("the hen and the hat", encoding="utf-8")
    assert cache_formats.main(["--text", str(file), "--by-layer", "--formats", "f16", "int8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"15 tokens of {file}"
    assert [line.split()[0] for line in lines[2:6] if line] == ["cache", "none", "f16", "int8"]
    assert [line.split()[0] for line in lines[-2:]] == ["0", "1"]


@pytest.mark.parametrize(
    "content, message", [("a", "text.txt must have at least 2 tokens; got 1."), (None, "text.txt")]
)
def test_a_text_too_short_is_named(small, tmp_path, capsys, content, message):
    file = tmp_path / "text.txt"
    if content:
        file.write_text(content, encoding="utf-8")
    assert cache_formats.main(["--text", str(file)]) == 1
    assert message in capsys.readouterr().err
