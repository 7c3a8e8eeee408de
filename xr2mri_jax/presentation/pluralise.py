"""Counts with their nouns, for pages and command output."""


def pluralise(count: int, noun: str) -> str:
    """A number with its noun: "1 knee", "2 knees"; the plural ends in s."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
