"""What performs the effects of flows."""
