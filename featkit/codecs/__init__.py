"""Wire formats to columns and back: pure, vectorised, no I/O."""
