"""A small network that finds knees in a radiograph: views, network, weights and search."""
