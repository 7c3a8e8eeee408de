"""Training: state, step, devices, loop and checkpoints; uses stages only through their protocol."""
