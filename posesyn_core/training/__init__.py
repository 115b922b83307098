"""Fine-tuning and evaluation of a target pose estimator."""
