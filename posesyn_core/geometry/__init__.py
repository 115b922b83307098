"""Rotations, cameras, crops and rigid alignment: few, named functions on plain arrays."""
