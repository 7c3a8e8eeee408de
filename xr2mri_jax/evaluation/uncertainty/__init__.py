"""Fits uncertainty on held-out knees and measures its coverage on other knees."""
