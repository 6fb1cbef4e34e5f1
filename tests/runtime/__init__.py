"""The very artifacts that would be uploaded, run in the real Lambda runtime."""
