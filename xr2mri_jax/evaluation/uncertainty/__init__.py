"""Uncertainty fitted on held-out knees, and measured on others."""
