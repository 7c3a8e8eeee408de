"""What entry points need of the machine: cores, memory, compiled programs, processes."""
