"""What every prediction states about itself."""

STATEMENT = "synthesised from one radiograph - research only, not for diagnosis"
