"""Champ: human image animation guided by depth, normal, semantic and skeleton maps of a parametric body."""
