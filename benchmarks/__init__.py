"""Figures of speed and size, each a ratio to a peer measured in the same run: ``python -m benchmarks``."""
