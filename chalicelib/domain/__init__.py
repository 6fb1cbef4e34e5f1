"""What a document may be: rules without I/O."""
