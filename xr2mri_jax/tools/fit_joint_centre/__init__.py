"""Fits the network of `preprocess.joint_centre`: examples from the phantom, training loop."""
