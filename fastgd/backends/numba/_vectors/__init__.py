"""Vectors in LLVM IR: the words that kernels are written in."""
