"""The stores: one file each, or one folder where that would be too long a file."""
