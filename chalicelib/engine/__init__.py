"""The engine: it runs the transitions that move documents from state to state."""
