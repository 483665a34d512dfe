"""What examples/sentence_embeddings.py draws."""
