"""Comparison that takes as long wherever two texts differ. No I/O."""

import hmac


def same(one: str, other: str) -> bool:
    """Whether two texts are equal; takes as long wherever they differ."""
    return hmac.compare_digest(
        one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
    )
