"""What can go wrong in the score."""


class StateFormatError(ValueError):
    """A stored row is not one that this version wrote."""
