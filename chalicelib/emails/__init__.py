"""The mails: their texts, and sending them within quotas."""
