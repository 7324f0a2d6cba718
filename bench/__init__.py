"""How fast training steps and metrics are, as fractions of what the machine's matrix products reach."""
