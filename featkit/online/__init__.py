"""The lookup of the latest values: from keys over the cache and the store to columns."""
