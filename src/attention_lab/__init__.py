"""Attention mechanisms, from theory to implementation: see README.md and DVC's stages in pipeline/."""
