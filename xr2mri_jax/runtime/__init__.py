"""Machine-related functions for entry points: cores, memory, compiled programs, processes."""
