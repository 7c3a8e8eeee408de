"""Evaluation on real pairs: a patient's radiograph, and the segmented MRI of the same knee."""
