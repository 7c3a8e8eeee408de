"""Estimates how well a perfect frontal view determines a knee's bone shape."""
