"""Errors that a user can do something about."""


class CloutError(Exception):
    """What happened, to which input, and what to do about it.

    >>> print(CloutError("topic is missing", detail="lanes.actors.v1", hint="run `clout topics create`"))
    error: topic is missing
    detail: lanes.actors.v1
    hint: run `clout topics create`
    """

    exit_code = 1

    def __init__(self, error: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(error)
        self.error = error
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        parts = {"error": self.error, "detail": self.detail, "hint": self.hint}
        return "\n".join(f"{name}: {text}" for name, text in parts.items() if text)
