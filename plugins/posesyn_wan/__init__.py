"""Wan: video diffusion models that draw a reference person in the poses of a plan, through diffusers' pipelines."""
