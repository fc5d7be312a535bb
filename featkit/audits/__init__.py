"""Audits: does a frame know the future, do two frames or two stores tell the same."""
