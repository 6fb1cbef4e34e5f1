"""The scheduled Lambda: CouchDB's changes feeds → one SQS queue for each (type, state)."""
