"""`python -m local.demo`: the whole system, told by three devices of two people."""
