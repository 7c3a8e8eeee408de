"""Lengths, angles, radii and thicknesses of knees in label maps, and their population statistics."""
