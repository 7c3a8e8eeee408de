"""From raw radiographs and volumes to the canonical frame, with a record of what was done."""
