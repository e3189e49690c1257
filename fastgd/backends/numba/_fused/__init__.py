"""Kernels that read X once for loss and gradient."""
