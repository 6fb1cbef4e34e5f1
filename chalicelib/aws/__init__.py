"""Adapters of AWS: DynamoDB, SES, the clients."""
