"""Lengths, angles, radii and thicknesses of knees, and statistics of a population."""
