"""Matrices and numbers: factors, products, eigenvalues, double-double."""
