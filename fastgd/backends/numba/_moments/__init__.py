"""Kernels and passes that read X once for its moments."""
