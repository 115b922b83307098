"""Attacks: kills at random moments, damage on disk, mutated input."""
