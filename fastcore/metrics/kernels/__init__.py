"""Kernels of the metrics: counts, histograms, orders of scores, sums over blocks, distances."""
