"""Uncertainty of a generator's predictions: intervals fitted on held-out knees."""
