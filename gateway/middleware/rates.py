"""How many requests a key may make: a bucket of tokens each, which fills with time."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rates:
    """Buckets by key; those of keys that hold are few, so none is ever thrown away."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Begin with full buckets; `clock` gives seconds."""
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, key: str, rate_per_second: int) -> tuple[bool, Mapping[str, str]]:
        """Take a token; return whether there was one, and the headers that tell of the bucket.

        A bucket holds what a second brings.

        >>> rates = Rates(lambda: 0.0)
        >>> [rates.take("a", 2)[0] for _ in range(3)], rates.take("b", 2)[1]["RateLimit"]
        ([True, True, False], '"key";r=1;t=1')
        """
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(rate_per_second, now))
        bucket.tokens = min(rate_per_second, bucket.tokens + (now - bucket.at) * rate_per_second)
        bucket.at = now
        allowed = bucket.tokens >= 1
        if allowed:
            bucket.tokens -= 1
        # As the IETF's draft of these headers has them: what is left, and seconds until all is there again.
        headers = {
            "RateLimit-Policy": f'"key";q={rate_per_second};w=1',
            "RateLimit": f'"key";r={int(bucket.tokens)};t=1',
        }
        return allowed, headers
