"""Broken files by the thousand: what every reader must refuse in one line, or read right."""
