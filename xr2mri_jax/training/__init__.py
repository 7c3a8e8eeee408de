"""Training: state, step, devices, loop and checkpoints; it knows stages by their protocol alone."""
