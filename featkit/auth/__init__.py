"""Credentials, as flows that sign requests."""
