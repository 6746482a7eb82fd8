"""The score: pure functions from states and events to states and scores. No clock, no I/O."""
