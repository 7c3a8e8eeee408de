"""Measured comparisons: a suite a file; PyTorch is imported only where a suite runs it."""
