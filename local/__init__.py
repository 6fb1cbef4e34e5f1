"""The whole system on one machine, from the code and the template that are deployed."""
