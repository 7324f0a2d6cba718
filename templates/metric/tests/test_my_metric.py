"""The metric does what every metric must do. Write below what yours must do beside that."""

from collapsebench_my_metric import MyMetric

from collapsebench.testing import MetricConformance


class TestMyMetric(MetricConformance):
    component = MyMetric
