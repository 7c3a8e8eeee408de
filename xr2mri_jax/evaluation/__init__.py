"""Evaluation on held-out knees: metrics with intervals, controls, retrieval, a report."""
