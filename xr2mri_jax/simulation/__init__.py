"""Simulates pairs of radiograph and MRI of the same knee from files of label maps."""
