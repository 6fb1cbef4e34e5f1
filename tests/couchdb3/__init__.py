"""A stand-in for CouchDB 3, where none is at hand."""
