"""The benchmark harness for methods against posterior collapse in variational autoencoders.

The public names are listed in `__init__.pyi`. Each is imported when it is first used, so that `--help` waits neither
for pydantic nor for torch, and a plugin waits for torch only if it uses it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
