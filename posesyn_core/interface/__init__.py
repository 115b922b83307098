"""The functions that :mod:`posesyn_core` offers to Python: thin over the stages, and all that they need on one page."""
