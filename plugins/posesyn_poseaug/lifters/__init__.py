"""The four networks: (N, 16, 2) on the normalised screen -> (N, 16, 3) metres relative to the root."""
