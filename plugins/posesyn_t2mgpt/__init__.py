"""T2M-GPT: motions from a text and an initial pose (HumanML3D representation, motion VQ-VAE, transformer)."""
