"""The decoder does what every decoder must do. Write below what yours must do beside that."""

from collapsebench_my_decoder import MyDecoder

from collapsebench.testing import DecoderConformance


class TestMyDecoder(DecoderConformance):
    component = MyDecoder
