"""Captions from a vision-language model: LLaVA, or any other that transformers can load."""
