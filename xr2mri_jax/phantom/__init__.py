"""A procedural knee: seeded anatomy, its simulated MRI and its simulated radiograph."""
