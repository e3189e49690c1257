"""What one read tells of the data: moments, what follows from them, and better coordinates."""
