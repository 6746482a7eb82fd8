"""XXH3 with 64 bits (Yann Collet, xxHash 0.8) for kernels: texts of up to `BYTES_MAX` bytes, without a seed.

The same hash as `schemas.users.user_hash` by the xxhash library, which a kernel cannot call.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scorer.compiled import kernel

BYTES_MAX: Final = 128
"""Longer texts take another way through XXH3, which is not here."""

PADDING: Final = bytes(9)

_SECRET: Final = np.frombuffer(
    bytes.fromhex(
        "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
        "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
        "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
        "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    ),
    np.uint64,
)
"""The first words of XXH3's default secret, which is used in words of eight bytes only."""

_PRIME64_1: Final = np.uint64(0x9E3779B185EBCA87)
_PRIME64_2: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_PRIME64_3: Final = np.uint64(0x165667B19E3779F9)
_PRIME_MX1: Final = np.uint64(0x165667919E3779F9)
_PRIME_MX2: Final = np.uint64(0x9FB21C651E98DF25)
_LOW: Final = np.uint64(0xFFFFFFFF)
_BYTE: Final = np.uint64(0xFF)


@kernel
def xxh3(words: Any, begin: int, end: int) -> Any:
    """Return the hash of some bytes of a text, at most `BYTES_MAX`; `words` are those of `words_of`.

    >>> import xxhash
    >>> int(xxh3(words_of(b"-twitter:7-" + PADDING), 1, 10)) == xxhash.xxh3_64_intdigest(b"twitter:7")
    True
    """
    size = end - begin
    length = np.uint64(size)
    if size == 0:
        return _avalanche_64(_SECRET[7] ^ _SECRET[8])
    if size <= 3:
        combined = (
            (words[begin] & _BYTE) << np.uint64(16)
            | (words[begin + (size >> 1)] & _BYTE) << np.uint64(24)
            | words[end - 1] & _BYTE
            | length << np.uint64(8)
        )
        return _avalanche_64(combined ^ ((_SECRET[0] & _LOW) ^ (_SECRET[0] >> np.uint64(32))))
    if size <= 8:
        joined = (words[end - 4] & _LOW) + (words[begin] << np.uint64(32))
        return _mixed(joined ^ (_SECRET[1] ^ _SECRET[2]), length)
    if size <= 16:
        low = words[begin] ^ (_SECRET[3] ^ _SECRET[4])
        high = words[end - 8] ^ (_SECRET[5] ^ _SECRET[6])
        return _avalanche(length + _swapped(low) + high + _folded(low, high))
    total = length * _PRIME64_1
    for pair in range((size - 1) // 32 + 1):
        total += _mixed_16(words, begin + 16 * pair, 4 * pair)
        total += _mixed_16(words, end - 16 * (pair + 1), 4 * pair + 2)
    return _avalanche(total)


def words_of(text: bytes) -> NDArray[np.uint64]:
    """Return the eight bytes that begin at each place of a text, as a word; the text must end with `PADDING`.

    >>> [hex(word) for word in words_of(b"ab" + PADDING).tolist()]
    ['0x6261', '0x62', '0x0', '0x0']
    """
    # Two at least: a single one would be contiguous, and kernels be compiled once more for it.
    return np.ndarray(len(text) - len(PADDING) + 2, "<u8", text, strides=(1,))


@kernel
def _swapped(word: Any) -> Any:
    swapped = np.uint64(0)
    for place in range(8):
        swapped |= (word >> np.uint64(8 * place) & _BYTE) << np.uint64(56 - 8 * place)
    return swapped


@kernel
def _folded(left: Any, right: Any) -> Any:
    """Return the two halves of a product of 128 bits, one upon the other."""
    low_low = (left & _LOW) * (right & _LOW)
    high_low = (left >> np.uint64(32)) * (right & _LOW)
    low_high = (left & _LOW) * (right >> np.uint64(32))
    high_high = (left >> np.uint64(32)) * (right >> np.uint64(32))
    cross = (low_low >> np.uint64(32)) + (high_low & _LOW) + low_high
    upper = (high_low >> np.uint64(32)) + (cross >> np.uint64(32)) + high_high
    return upper ^ (cross << np.uint64(32) | low_low & _LOW)


@kernel
def _mixed_16(words: Any, at: int, secret: int) -> Any:
    return _folded(words[at] ^ _SECRET[secret], words[at + 8] ^ _SECRET[secret + 1])


@kernel
def _mixed(value: Any, length: Any) -> Any:
    value ^= (value << np.uint64(49) | value >> np.uint64(15)) ^ (value << np.uint64(24) | value >> np.uint64(40))
    value *= _PRIME_MX2
    value ^= (value >> np.uint64(35)) + length
    value *= _PRIME_MX2
    return value ^ value >> np.uint64(28)


@kernel
def _avalanche(value: Any) -> Any:
    value ^= value >> np.uint64(37)
    value *= _PRIME_MX1
    return value ^ value >> np.uint64(32)


@kernel
def _avalanche_64(value: Any) -> Any:
    value ^= value >> np.uint64(33)
    value *= _PRIME64_2
    value ^= value >> np.uint64(29)
    value *= _PRIME64_3
    return value ^ value >> np.uint64(32)
