"""The clients of a store, and what both stand on."""
