"""Evaluation: prompted benchmarks of models over data sets, their statistics and their reports."""
