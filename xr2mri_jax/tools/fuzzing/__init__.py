"""Thousands of broken files, which every reader must refuse in one line, or read correctly."""
