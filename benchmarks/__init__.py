"""Benchmarks that anyone can run: what the default model reaches, beside what costs nothing, and how fast."""
