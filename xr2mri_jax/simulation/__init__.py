"""Files of label maps to files of simulated pairs: a radiograph and an MRI of the same knee."""
