"""The scheduled Lambda that sends CouchDB's changes to SQS, one queue for each (type, state)."""
