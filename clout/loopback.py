"""HTTP to processes of this machine."""

from functools import cache

import httpx


@cache
def http() -> httpx.Client:
    """Return the client for all questions to them: a new one reads the certificates that it could trust, for 30 ms.

    It keeps no connection: whoever was asked may be another process by the next question.
    """
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
