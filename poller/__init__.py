"""The scheduled Lambda: CouchDB's changes feed → one SQS queue for each (type, state)."""
