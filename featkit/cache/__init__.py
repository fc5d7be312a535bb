"""The cache: columns in memory, segments in a container, replies of registries."""
