"""Promises to type checkers."""
