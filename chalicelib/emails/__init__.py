"""The mails: their texts, and sending them within limits."""
