"""knee_phantom: simulated pairs of knee radiograph and MRI."""
