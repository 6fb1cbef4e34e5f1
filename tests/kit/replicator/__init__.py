"""What CouchDB's replicator sends and CouchDB answers, recorded, and what is replicated there."""
