"""A trained model on one radiograph: the volume in true geometry, pictures and a record."""
