"""Tensor operations that torch lacks, or that are faster here than in torch."""
