"""The demonstration: a made-up population, and a live view of what its scores do."""
