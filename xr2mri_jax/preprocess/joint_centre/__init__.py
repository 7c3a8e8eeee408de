"""A small network that finds the tibiofemoral joint in an MRI: its form, its weights, its use."""
