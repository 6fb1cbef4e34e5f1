"""Comparison of secrets in constant time. No I/O."""

import hmac


def same(one: str, other: str) -> bool:
    """Return whether two texts are equal; the time does not depend on where they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )
