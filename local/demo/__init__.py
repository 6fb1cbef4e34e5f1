"""The demo: the whole system with three devices of two people (`python -m local.demo`)."""
