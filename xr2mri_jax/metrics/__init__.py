"""Mergeable metrics: per-example values on the device, (sum, count) pairs between batches."""
