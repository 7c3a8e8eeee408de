"""Fits the network of `preprocess.knee_finder`: pictures, pseudo-labels, training loop."""
