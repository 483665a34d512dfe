"""transformers: LlamaForCausalLM in float32 from the same GGUF file, with its default cache."""

import io
import os
from contextlib import redirect_stderr
from functools import cache
from typing import Any

from benchmarks.peers import require, require_torch
from benchmarks.registry import Side
from examples.smollm2.weights import default_path


@cache
def model(attention: str) -> Any:
    torch = require_torch()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    transformers = require("transformers")
    path = default_path()
    with redirect_stderr(io.StringIO()):  # progress bars
        network = transformers.AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation=attention
        )
    return network.eval()


def prepare(data: Any, attention: str) -> Side:
    torch = require_torch()
    network = model(attention)
    new = torch.tensor(data.new)
    past = None
    if data.before:
        past = network(torch.tensor(data.known), use_cache=True, logits_to_keep=1).past_key_values

    def call() -> Any:
        if past is not None and past.get_seq_length() > data.before:
            past.crop(data.before - past.get_seq_length())
        return network(new, past_key_values=past, use_cache=True, logits_to_keep=1).logits[:, -1]

    return Side(call, lambda logits: logits.numpy(), "DynamicCache")
