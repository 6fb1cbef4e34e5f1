"""Attacks on Syncpoint; docs/security.md names each with its defence."""
