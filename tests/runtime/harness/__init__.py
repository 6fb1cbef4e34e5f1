"""Builds the artifacts, and runs them as Lambda does: runtime, Runtime API, rights."""
