"""The method does what every method must do. Write below what yours must do beside that."""

from collapsebench_my_method import MyMethod

from collapsebench.testing import MethodConformance


class TestMyMethod(MethodConformance):
    component = MyMethod
