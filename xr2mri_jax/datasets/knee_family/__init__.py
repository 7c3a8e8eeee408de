"""knee_family: simulated pairs of knees bred from a few label maps."""
