"""Syncpoint's cloud side: documents with a type and a state, and the transitions between states."""
