"""knee_family: simulated pairs of knees derived from a few label maps."""
