"""PyTorch: transformers' BertModel, with the attention it calls `eager` or with torch's SDPA."""

from typing import Any

import numpy as np

from benchmarks.peers import require, require_torch
from benchmarks.registry import Side


def prepare(data: Any, attention: str) -> Side:
    torch = require_torch()
    transformers = require("transformers")
    c = data.config
    bert = transformers.BertConfig(
        num_hidden_layers=c.layers,
        num_attention_heads=c.heads,
        hidden_size=c.hidden,
        intermediate_size=c.intermediate,
        layer_norm_eps=c.epsilon,
        attn_implementation=attention,
    )
    model = transformers.BertModel(bert, add_pooling_layer=False).eval()
    # position_ids and the pooler of the file are not part of this model.
    state = {name: torch.from_numpy(data.weights[name]) for name in model.state_dict()}
    model.load_state_dict(state)

    def side(batches: list) -> Side:
        inputs = [(batch.sentences, torch.from_numpy(batch.words), torch.from_numpy(batch.mask)) for batch in batches]

        def call() -> Any:
            out = torch.empty(len(data.tokens), c.hidden)
            for sentences, words, mask in inputs:
                hidden = model(input_ids=words, attention_mask=mask).last_hidden_state
                means = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
                out[torch.from_numpy(sentences)] = torch.nn.functional.normalize(means)
            return out

        return Side(call, lambda result: np.asarray(result))

    return data.fastest(side)
