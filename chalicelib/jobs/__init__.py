"""What runs beside the transitions: the daily sweep, upgrades, SES's feedback."""
