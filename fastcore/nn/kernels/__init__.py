"""Kernels of normalisation and activations: bodies over lists of row blocks."""
