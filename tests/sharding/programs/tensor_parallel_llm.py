"""A small Llama over two devices, and whole on one: logits and tokens."""

import numpy as np

from tests.examples.small_model import small_weights

PROMPTS = [[5], [7, 30, 7, 31], list(range(3, 60))]


def cases():
    return {f"greedy tokens, tp={tp}": lambda make_mesh, tp=tp: greedy(make_mesh, tp) for tp in (1, 2)}


def greedy(make_mesh, tp):
    from examples.smollm2.sharded import ShardedModel, generate_sharded

    model = ShardedModel(make_mesh({"tp": tp}), small_weights(), capacity=80)
    found = []
    for prompt in PROMPTS:
        found.append(np.array(list(generate_sharded(model, prompt, 12))))
        model.restart()
        found.append(model.feed(prompt).gather())
        model.restart()
    return found
