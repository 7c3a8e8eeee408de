"""Applies a trained model to one radiograph: volume in true geometry, pictures and a record."""
