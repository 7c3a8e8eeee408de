"""Benchmarks, one suite per file; PyTorch is imported only by suites that use it."""
