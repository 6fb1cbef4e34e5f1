"""Jobs beside the transitions: the daily sweep, upgrades, notifications from SES."""
