"""The grader of early knee osteoarthritis that ships: its form, its network, how it is made."""
