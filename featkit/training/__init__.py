"""Training sets: the flow that assembles one, what it returns, and how it went."""
