"""The environment of a run: what decides about its bits."""

from __future__ import annotations

import torch

from collapsebench.experiment.environment import decisive, environment, known_environment


def test_it_names_versions_processors_and_libraries():
    found = environment("cpu")
    assert found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] == torch.get_num_threads()
    assert known_environment("cpu").items() <= found.items()
    libraries = {"mkl": "Math Kernel Library", "onednn": "MKL-DNN"}
    assert {name for name, title in libraries.items() if title in torch.__config__.show()} <= found.keys()


def test_two_devices_of_one_model_are_no_difference_and_two_models_are():
    common = {"torch": "2.13.0", "cuda": "12.8", "cpu_count": 8}
    first, second = ({**common, "device": device, "gpu": "H200"} for device in ("cuda:0", "cuda:1"))
    assert decisive(first) == decisive(second | {"cpu_count": 16})
    assert decisive(first) != decisive(second | {"gpu": "A100"})
    assert decisive(first) != decisive({**common, "device": "cpu"})
