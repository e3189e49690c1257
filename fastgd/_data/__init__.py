"""What the caller hands in: arrays, checked and oriented, and blocks of them."""
