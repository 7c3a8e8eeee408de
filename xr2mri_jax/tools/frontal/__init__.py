"""How much of a knee's bone shape a perfect frontal view tells."""
