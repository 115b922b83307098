"""A run: its stages, its folder, its executor."""
