"""What a generator's predictions may be off by: intervals fitted on held-out knees."""
