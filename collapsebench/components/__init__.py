"""What a plugin adds, how it is found and how methods are composed."""
