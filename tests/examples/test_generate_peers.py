"""What was frozen is what transformers generates."""

import importlib.util
import json
from pathlib import Path

import pytest

from examples.smollm2 import weights

HERE = Path(__file__).parent


@pytest.mark.peer
@pytest.mark.filterwarnings("default")  # deprecations inside of the libraries
def test_frozen_tokens_are_what_transformers_generates():
    for module in ("torch", "transformers", "accelerate", "gguf"):
        pytest.importorskip(module)
    if importlib.util.find_spec(weights.PACKAGE) is None:
        pytest.skip(f"needs the weights: {weights.INSTALL_WEIGHTS}")
    spec = importlib.util.spec_from_file_location("freeze_generated", HERE / "freeze_generated.py")
    freeze = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(freeze)
    tokenizer, model = freeze.load()
    frozen = json.loads(freeze.FILE.read_text(encoding="utf-8"))["cases"]
    assert [(case["text"], case["chat"]) for case in frozen] == freeze.PROMPTS
    for case in (frozen[2], frozen[5]):
        fresh = freeze.freeze(tokenizer, model, case["text"], case["chat"], new_tokens=24)
        assert fresh["prompt"] == case["prompt"]
        assert fresh["generated"] == case["generated"][:24]
