"""Batches of a prepared dataset: selection, augmentation, passes over a split."""
