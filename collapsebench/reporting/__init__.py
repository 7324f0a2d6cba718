"""Which stored runs are meant, and what they say: boards and figures."""
