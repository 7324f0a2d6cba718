"""Tensor operations that are faster than those of the library, or that it lacks."""
