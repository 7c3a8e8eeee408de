"""Benchmarks, fuzzing and the fitting of the small networks; the product imports none of it."""
