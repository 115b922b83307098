"""A third-party motion generator for PoseSyn."""
