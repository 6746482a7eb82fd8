"""Errors that a user can do something about."""

_LABEL = "error: "


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


def first_line(text: str) -> str:
    """Return what an error's text begins with, to stand in a sentence.

    >>> first_line(str(CloutError("a law is broken", detail="R below 0")))
    'a law is broken'
    """
    return text.partition("\n")[0].removeprefix(_LABEL)


def unlabelled(error: Exception) -> str:
    r"""Return what happened and to what, a line each, where nobody asks what to do about it.

    >>> unlabelled(CloutError("a law is broken", detail="R below 0", hint="see the log")), unlabelled(ValueError("no"))
    ('a law is broken\nR below 0', 'no')
    """
    if isinstance(error, CloutError):
        return "\n".join(filter(None, [error.error, error.detail]))
    return str(error)
