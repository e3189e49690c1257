"""What one read can tell of the data: moments, and what follows from them alone."""
