"""Adapters for AWS: DynamoDB, SES, and how the clients are made."""
