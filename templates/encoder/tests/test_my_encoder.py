"""The encoder does what every encoder must do. Write below what yours must do beside that."""

from collapsebench_my_encoder import MyEncoder

from collapsebench.testing import EncoderConformance


class TestMyEncoder(EncoderConformance):
    component = MyEncoder
