"""Half of the KL term, for text alone."""

from typing import ClassVar

from collapsebench import Method, TextSpec, UsageError, hookimpl


class HalfOfText(Method):
    """The KL term of documents has the weight 1/2. Other data are refused before anything runs."""

    name: ClassVar[str] = "half-of-text"

    @hookimpl
    def check_fit(self, data):
        if not isinstance(data, TextSpec):
            raise UsageError(f"method '{self.name}' is made for text, got {data}")

    @hookimpl
    def kl_weight(self):
        return 0.5


@hookimpl
def collapsebench_components():
    return [HalfOfText]
