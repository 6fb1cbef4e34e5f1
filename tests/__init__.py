"""The tests: unit (no I/O but moto in this process), integration, e2e."""
