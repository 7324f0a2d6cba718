"""The shipped methods, a module each. `pyproject.toml` registers them, exactly as a third party registers its own."""
