"""SmolLM2-135M on NumPy and fastcore: weights, tokenizer, model, and decoding with and without a cache."""
