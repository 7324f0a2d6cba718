"""What every test shares."""

from hypothesis import settings

# Deadlines are wall time: they say more about the machine than about the code.
settings.register_profile("collapsebench", deadline=None, max_examples=60)
settings.load_profile("collapsebench")
