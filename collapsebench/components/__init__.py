"""The interfaces of plugins, their discovery, and the composition of methods."""
