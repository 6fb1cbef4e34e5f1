"""The rules for documents, names, links and codes, without I/O."""
