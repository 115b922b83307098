"""An augmenter of one's own."""
