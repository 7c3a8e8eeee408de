"""The shipped generator: predicts surfaces, labels and an MRI-like volume from one radiograph."""
