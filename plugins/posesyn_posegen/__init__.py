"""PoseGen (AAAI 2024): poses that an estimator gets wrong, made by a generator that its error rewards."""
