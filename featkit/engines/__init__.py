"""Where a point-in-time join runs, and how it is planned."""
