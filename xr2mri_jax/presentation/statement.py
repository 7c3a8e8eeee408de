"""The statement that accompanies every prediction."""

STATEMENT = "synthesised from one radiograph - research only, not for diagnosis"
