"""The statements that accompany every prediction."""

STATEMENT = "synthesised from one radiograph - research only, not for diagnosis"
MEANING = (
    "A predicted volume shows what the model considers likely. What the radiograph does not "
    "determine is filled in from the training population."
)
