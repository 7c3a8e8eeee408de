"""A small network that finds knees in a radiograph: its views, its form, its weights."""
