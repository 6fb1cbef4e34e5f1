"""What drives documents from state to state."""
