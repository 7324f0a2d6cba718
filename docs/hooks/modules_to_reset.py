"""The decoder begins anew several times."""

from typing import ClassVar

from collapsebench import Method, hookimpl


class FreshDecoder(Method):
    """As long as less than half of the budget is spent, the decoder begins anew every fifth step."""

    name: ClassVar[str] = "fresh-decoder"

    @hookimpl
    def modules_to_reset(self, vae, progress):
        due = progress.fraction < 0.5 and progress.step > 0 and progress.step % 5 == 0
        return [vae.decoder] if due else []


@hookimpl
def collapsebench_components():
    return [FreshDecoder]
