"""The shipped generator: one radiograph of a knee to surfaces, labels and an MRI-like volume."""
