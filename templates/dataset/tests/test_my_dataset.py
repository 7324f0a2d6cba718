"""The dataset does what every dataset must do. Write below what yours must do beside that."""

from collapsebench_my_dataset import MyDataset

from collapsebench.testing import DatasetConformance


class TestMyDataset(DatasetConformance):
    component = MyDataset
