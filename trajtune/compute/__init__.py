"""Where and in which number format to compute, and groups of named tensors."""
