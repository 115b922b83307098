"""Readers of public data sets and writers of training files."""
