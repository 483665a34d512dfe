"""Models of transformers with attn_implementation="fastcore" are what they are with "eager"."""

import subprocess
import sys

import numpy as np
import pytest

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]  # deprecations inside of the libraries

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from transformers import masking_utils  # noqa: E402

from fastcore.integrations import transformers as integration  # noqa: E402
from fastcore.integrations.transformers import register  # noqa: E402
from fastcore.integrations.transformers_masks import VisibleKeys  # noqa: E402
from tests.integrations.transformers_models import DECODERS, WINDOW, bert, decoder, t5, tokens, whisper  # noqa: E402

register()

# Logits of order 1, in float32: "sdpa" differs from "eager" by 2e-7 to 1e-6 there.
CLOSE = {"rtol": 1e-5, "atol": 5e-6}
SOME = ("llama", "gemma2", "gpt_oss", "gpt2")


@pytest.fixture
def no_elements(monkeypatch):
    """Masks must do with bounds: neither "sdpa"'s L x S elements nor ours are made."""

    def refuse(*_, **__):
        raise AssertionError("a mask of L x S elements was made")

    monkeypatch.setattr(masking_utils, "sdpa_mask", refuse)
    monkeypatch.setattr(VisibleKeys, "elements", property(refuse))


def by(model, implementation, call):
    """What ``call`` returns with this attention, and "fastcore" again after it."""
    model.set_attn_implementation(implementation)
    try:
        return call()
    finally:
        model.set_attn_implementation("fastcore")


def both(model, call):
    with torch.no_grad():
        expected = by(model, "eager", call)
        return by(model, "fastcore", call), expected


def padding(kind, sequences, length):
    mask = torch.ones(sequences, length, dtype=torch.long)
    if kind == "left":
        mask[0, :5] = 0
    elif kind == "right":
        mask[-1, -4:] = 0
    elif kind == "holes":
        mask[0, 3:6] = 0
    return mask


# --- prefill --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["none", "left", "right", "holes"])
@pytest.mark.parametrize("family", DECODERS)
def test_decoder_logits_are_those_of_eager(family, kind, no_elements, monkeypatch):
    model, words, mask = decoder(family), tokens(2, 21), padding(kind, 2, 21)
    with torch.no_grad():
        ours = by(model, "fastcore", lambda: model(words, attention_mask=mask).logits)
        monkeypatch.undo()
        expected = by(model, "eager", lambda: model(words, attention_mask=mask).logits)
    torch.testing.assert_close(ours[mask.bool()], expected[mask.bool()], **CLOSE)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])  # GPT-OSS's experts take no float64
def test_decoder_in_float64_is_eager_to_rounding(family):
    model, words = decoder(family, torch.float64), tokens(1, 19)
    ours, expected = both(model, lambda: model(words).logits)
    # The others' norms and eager's softmax are of float32 in any case.
    bound = 1e-12 if family == "gpt2" else 1e-6
    torch.testing.assert_close(ours, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", SOME)
def test_decoder_in_half_precision_is_no_further_from_float32_than_eager(family, dtype):
    words = tokens(2, 21)
    full = decoder(family)
    exact = by(full, "eager", lambda: full(words).logits).detach()
    model = decoder(family, dtype)
    ours, expected = both(model, lambda: model(words).logits.float())
    assert (ours - exact).abs().mean() <= 1.25 * (expected - exact).abs().mean()


def test_bert_is_that_of_eager(no_elements, monkeypatch):
    model, words = bert(), tokens(3, 14)
    mask = padding("left", 3, 14) * padding("right", 3, 14)
    with torch.no_grad():
        ours = by(model, "fastcore", lambda: model(words, attention_mask=mask).last_hidden_state)
        monkeypatch.undo()
        expected = by(model, "eager", lambda: model(words, attention_mask=mask).last_hidden_state)
    torch.testing.assert_close(ours[mask.bool()], expected[mask.bool()], **CLOSE)


def test_cross_attention_with_padding_is_that_of_eager():
    model, words, seen = bert(is_decoder=True, add_cross_attention=True), tokens(2, 7), torch.rand(2, 11, 64)
    mask = padding("left", 2, 11) * padding("right", 2, 11)
    ours, expected = both(
        model, lambda: model(words, encoder_hidden_states=seen, encoder_attention_mask=mask).last_hidden_state
    )
    torch.testing.assert_close(ours, expected, **CLOSE)


def test_whisper_is_that_of_eager():
    model, sound, words = whisper(), torch.rand(2, 16, 60), tokens(2, 9)
    ours, expected = both(model, lambda: model(sound, decoder_input_ids=words).logits)
    torch.testing.assert_close(ours, expected, **CLOSE)


def test_t5_position_biases_are_those_of_eager():
    model, words, mask, answer = t5(), tokens(2, 13), padding("right", 2, 13), tokens(2, 6, seed=1)
    call = {"input_ids": words, "attention_mask": mask, "decoder_input_ids": answer}
    ours, expected = both(model, lambda: model(**call).logits)
    torch.testing.assert_close(ours, expected, **CLOSE)


@pytest.mark.parametrize("form", [torch.bool, torch.float32])
def test_a_mask_with_elements_is_taken_as_it_is(form):
    """A block of the prompt that all of it sees: no bounds say that."""
    model, words = decoder("llama"), tokens(2, 10)
    mask = torch.ones(2, 1, 10, 10, dtype=torch.bool).tril()
    mask[:, :, :4, :4] = True
    lowest = torch.finfo(torch.float32).min
    as_float = torch.zeros(mask.shape).masked_fill(~mask, lowest)
    with torch.no_grad():
        expected = by(model, "eager", lambda: model(words, attention_mask=as_float).logits)
        ours = by(
            model, "fastcore", lambda: model(words, attention_mask=mask if form is torch.bool else as_float).logits
        )
    torch.testing.assert_close(ours, expected, **CLOSE)


# --- caches and generation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("family", DECODERS)
def test_generation_beyond_the_window_gives_eagers_tokens(family, cache):
    model, words, mask = decoder(family), tokens(3, 9), padding("left", 3, 9)
    options = {"max_new_tokens": 2 * WINDOW, "do_sample": False, "attention_mask": mask, "cache_implementation": cache}
    ours, expected = both(model, lambda: model.generate(words, **options))
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_beam_search_gives_eagers_tokens(family):
    model, words = decoder(family), tokens(2, 9)
    ours, expected = both(model, lambda: model.generate(words, max_new_tokens=8, num_beams=3, do_sample=False))
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("kind", ["none", "left"])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3", "gpt_oss"])
def test_prefill_in_chunks_is_prefill_at_once(family, kind, no_elements):
    model, words, mask = decoder(family), tokens(2, 24), padding(kind, 2, 24)
    model.set_attn_implementation("fastcore")
    with torch.no_grad():
        whole = model(words, attention_mask=mask).logits
        cache = transformers.DynamicCache(config=model.config)
        parts = []
        for first, end in ((0, 10), (10, 11), (11, 24)):
            part = model(words[:, first:end], attention_mask=mask[:, :end], past_key_values=cache, use_cache=True)
            parts.append(part.logits)
    torch.testing.assert_close(torch.cat(parts, 1)[mask.bool()], whole[mask.bool()], **CLOSE)


def test_whisper_generation_gives_eagers_tokens():
    model, sound = whisper(), torch.rand(2, 16, 60)
    ours, expected = both(model, lambda: model.generate(sound, max_new_tokens=12, do_sample=False))
    assert torch.equal(ours, expected)


def test_t5_generation_gives_eagers_tokens():
    model, words, mask = t5(), tokens(2, 13), padding("right", 2, 13)
    ours, expected = both(model, lambda: model.generate(words, attention_mask=mask, max_new_tokens=10, do_sample=False))
    assert torch.equal(ours, expected)


# --- training -------------------------------------------------------------------------------------------------------


def gradients_of(model, call):
    model.zero_grad()
    call().backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def assert_gradients_are_those_of_eager(model, call):
    ours = by(model, "fastcore", lambda: gradients_of(model, call))
    expected = by(model, "eager", lambda: gradients_of(model, call))
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = max(float(gradient.abs().max()), 1e-3)
        torch.testing.assert_close(
            ours[name] / scale, gradient / scale, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("kind", ["none", "left", "right"])
@pytest.mark.parametrize("family", SOME)
def test_decoder_gradients_are_those_of_eager(family, kind):
    model, words, mask = decoder(family), tokens(2, 15), padding(kind, 2, 15)
    labels = words.masked_fill(mask == 0, -100)
    # The first row behind padding on the left is predicted from a row of padding, which has no defined value.
    labels[0, int(mask[0].argmax())] = -100
    assert_gradients_are_those_of_eager(model, lambda: model(words, attention_mask=mask, labels=labels).loss)


def test_encoder_decoder_gradients_are_those_of_eager():
    model, words, answer = t5(), tokens(2, 9), tokens(2, 5, seed=1)
    assert_gradients_are_those_of_eager(model, lambda: model(words, labels=answer).loss)
    model, sound = whisper(), torch.rand(2, 16, 60)
    assert_gradients_are_those_of_eager(model, lambda: model(sound, labels=answer).loss)


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(reentrant):
    model, words, mask = decoder("llama"), tokens(2, 15), padding("right", 2, 15)
    model.set_attn_implementation("fastcore")
    model.train()

    def call():
        return model(words, attention_mask=mask, labels=words).loss

    expected = gradients_of(model, call)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    for name, gradient in gradients_of(model, call).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-7)


def test_dropout_in_training_repeats_with_the_generator_and_keeps_the_mean():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 4, 64, 16) for _ in range(3))
    module = torch.nn.Module().train()

    def attended(seed, dropout):
        torch.manual_seed(seed)
        return integration.attention_forward(module, query, key, value, None, dropout=dropout, is_causal=False)[0]

    assert torch.equal(attended(1, 0.5), attended(1, 0.5))
    assert not torch.equal(attended(1, 0.5), attended(2, 0.5))
    mean = sum(attended(seed, 0.5) for seed in range(400)) / 400
    plain = attended(0, 0.0)
    assert (mean - plain).abs().mean() < 0.1 * plain.abs().mean()


# --- packed sequences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen3"])  # GPT-OSS does not tell its masks of positions
def test_packed_sequences_are_the_sequences_apart(family, no_elements):
    model, words = decoder(family), tokens(1, 30)
    model.set_attn_implementation("fastcore")
    lengths = [11, 1, 18]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    with torch.no_grad():
        apart = torch.cat([model(part).logits for part in words.split(lengths, 1)], 1)
        by_positions = model(words, position_ids=positions, use_cache=False).logits
        by_starts = model(
            words, position_ids=positions, attention_mask=torch.ones_like(words), cu_seq_lens_q=starts,
            cu_seq_lens_k=starts, max_length_q=18, max_length_k=18, use_cache=False,
        ).logits  # fmt: skip
    torch.testing.assert_close(by_positions, apart, **CLOSE)
    torch.testing.assert_close(by_starts, apart, **CLOSE)


def test_packed_sequences_have_eagers_gradients():
    model, words = decoder("llama"), tokens(1, 20)
    positions = torch.cat([torch.arange(12), torch.arange(8)])[None]
    assert_gradients_are_those_of_eager(
        model, lambda: model(words, position_ids=positions, labels=words, use_cache=False).loss
    )


def test_starts_that_do_not_fit_raise():
    model, words = decoder("llama"), tokens(2, 10)
    model.set_attn_implementation("fastcore")
    starts = torch.tensor([0, 4, 10])
    with pytest.raises(ValueError, match="packed into one row"):
        model(words, cu_seq_lens_q=starts, cu_seq_lens_k=starts)
    with pytest.raises(ValueError, match="last start 9"):
        model(words[:1], cu_seq_lens_q=torch.tensor([0, 4, 9]), cu_seq_lens_k=torch.tensor([0, 4, 9]))


# --- what else transformers asks for --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", SOME)
def test_attention_weights_are_those_of_eager(family):
    model, words, mask = decoder(family), tokens(2, 9), padding("right", 2, 9)
    ours, expected = both(model, lambda: model(words, attention_mask=mask, output_attentions=True))
    assert len(ours.attentions) == 2
    for mine, theirs in zip(ours.attentions, expected.attentions):
        torch.testing.assert_close(mine, theirs, **CLOSE)
    torch.testing.assert_close(ours.logits, expected.logits, **CLOSE)


def test_attention_weights_of_an_encoder_and_decoder_are_those_of_eager():
    model, sound, words = whisper(), torch.rand(2, 16, 60), tokens(2, 9)
    ours, expected = both(model, lambda: model(sound, decoder_input_ids=words, output_attentions=True))
    for name in ("encoder_attentions", "decoder_attentions", "cross_attentions"):
        for mine, theirs in zip(ours[name], expected[name], strict=True):
            torch.testing.assert_close(mine, theirs, **CLOSE)


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_compiled_model_is_the_model(family):
    model, words = decoder(family), tokens(2, 12)
    model.set_attn_implementation("fastcore")
    with torch.no_grad():
        expected = model(words, use_cache=False).logits
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(words, use_cache=False).logits, expected, **CLOSE)


def test_no_batch_and_one_token():
    model = decoder("llama")
    for words in (tokens(1, 1), tokens(4, 1)):
        ours, expected = both(model, lambda words=words: model(words).logits)
        torch.testing.assert_close(ours, expected, **CLOSE)


def test_register_takes_another_name_and_refuses_those_of_others():
    register("fastcore_again")
    register("fastcore_again")
    model = decoder("llama")
    model.set_attn_implementation("fastcore_again")
    assert model(tokens(1, 4)).logits.shape == (1, 4, 97)
    for name in ("sdpa", "eager", "flash_attention_2", ""):
        with pytest.raises(ValueError, match="name must be a new one"):
            register(name)
    with pytest.raises(TypeError, match="name must be a string"):
        register(3)


def test_without_transformers_the_import_names_the_extra():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "try:\n    import fastcore.integrations.transformers\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "pip install 'fastcore-kernels[transformers]'" in done.stdout, done.stderr
