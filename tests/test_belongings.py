"""No run hands anything on to the next one by way of its plugin's modules."""

import sys
import warnings
from types import ModuleType

import numpy as np
import torch

from collapsebench.components.belongings import Belongings

SOURCE = """
import collections, functools
import numpy as np
import torch
STATE = {"kept": [1, {2}], "nested": {}}
SEEN = set()
NUMBER = 1
NETWORK = torch.nn.Linear(2, 2)
WEIGHTS = torch.zeros(2)

class Method:
    best = None
    table = {"a": 1}

class Thing:
    def __init__(self):
        self.value = 3

THING = Thing()
ARRAY = np.zeros(2)
LAST = collections.deque([1], maxlen=2)
BYTES = bytearray(2)

def step(seen=[], *, kept=set()):
    seen.append(1); kept.add(1)
    return len(seen)

step.number = 0

@functools.cache
def network():
    return [0]

class Named(collections.defaultdict):
    def __init__(self, name):
        super().__init__(list)
        self.name = name

TABLE = Named("table")
DEEP = []
for _ in range(5000):
    DEEP = [DEEP]

BASE = torch.arange(4.0)
PART = BASE[1:3]
SPREAD = torch.zeros(1).expand(3)
LONGER = torch.zeros(2)
with torch.inference_mode():
    CONSTANT = torch.ones(2)
LOOSE = torch.zeros(2, 2).to_sparse()
NOWHERE = torch.zeros(2, device="meta")
"""

TRAIN = """
STATE["weights"] = torch.ones(3)
STATE["kept"].append(9); STATE["kept"][1].add(7); STATE["nested"]["x"] = 1
SEEN.add(1)
NUMBER = 2
NEW = "new"
Method.best = STATE["weights"]; Method.more = 1; Method.table["b"] = 2
THING.value = 4; THING.other = 5
WEIGHTS += 1
with torch.no_grad():
    NETWORK.weight.fill_(7.0)
NETWORK.extra = torch.nn.Linear(1, 1)
NETWORK.double()
ARRAY += 1; LAST.append(2); LAST.append(3); BYTES[0] = 1
step(); step.number += 1; network()[0] += 1
TABLE["a"].append(1)
BASE += 1
SPREAD.untyped_storage().fill_(1)
LONGER.resize_(5); LONGER.fill_(3)
with torch.inference_mode():
    CONSTANT += 1
"""


def shown(module):
    return repr(
        {
            "globals": sorted(name for name in vars(module) if not name.startswith("__")),
            "values": [module.STATE, module.SEEN, module.NUMBER, module.WEIGHTS, vars(module.THING)],
            "class": {name: value for name, value in vars(module.Method).items() if not name.startswith("__")},
            "tensors": [module.BASE, module.PART, module.SPREAD, module.LONGER, module.CONSTANT, module.ARRAY],
            "bytes": [module.LAST, module.BYTES, module.TABLE],
            "functions": [vars(module.step), module.step.__defaults__, module.step.__kwdefaults__, module.network()],
            "network": [module.NETWORK.state_dict(), list(vars(module.NETWORK)), module.NETWORK],
        }
    )


def test_everything_is_put_back(monkeypatch):
    module = ModuleType("a_plugin")
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    exec(SOURCE, vars(module))  # noqa: S102
    before, belongings = shown(module), Belongings([module])
    identity = id(module.STATE), id(module.NETWORK), id(module.Method)
    exec(TRAIN, vars(module))  # noqa: S102
    assert shown(module) != before
    belongings.put_back()
    assert shown(module) == before
    assert (id(module.STATE), id(module.NETWORK), id(module.Method)) == identity
    assert torch.equal(module.WEIGHTS, torch.zeros(2))
    module.BASE += 1
    assert module.PART.tolist() == [2.0, 3.0]


def test_memory_that_is_read_only_is_read_only_afterwards(tmp_path, monkeypatch):
    module = ModuleType("a_plugin")
    monkeypatch.setitem(sys.modules, "a_plugin", module)
    np.zeros(2).tofile(tmp_path / "numbers")
    module.ARRAY = np.memmap(tmp_path / "numbers", dtype=np.float64, mode="r")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module.TENSOR = torch.from_numpy(module.ARRAY)
    Belongings([module]).put_back()
    assert module.TENSOR.tolist() == module.ARRAY.tolist() == [0.0, 0.0]
