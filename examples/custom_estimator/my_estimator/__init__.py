"""A third-party estimator for PoseSyn."""
