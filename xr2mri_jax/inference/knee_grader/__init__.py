"""The shipped grader of early knee osteoarthritis: file format, network, conversion of runs."""
