"""Whole runs: all stages in order, and rounds of mining and training."""
