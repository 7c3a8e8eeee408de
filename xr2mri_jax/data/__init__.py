"""A prepared dataset becomes batches: selection, augmentation, passes over a split."""
