"""Models: pure Flax Linen modules and the classical baselines beside them."""
