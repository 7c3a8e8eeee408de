"""knee_pairs: knee radiographs with the MRI of the same knee, from a collection's files."""
