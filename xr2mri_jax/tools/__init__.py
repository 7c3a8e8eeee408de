"""Benchmarks, fuzzing and the fitting of the small networks; no other package imports them."""
