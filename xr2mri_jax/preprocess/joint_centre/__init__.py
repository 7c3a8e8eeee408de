"""The small network that finds the tibiofemoral joint in an MRI: network, weights and search."""
