"""No run hands anything on to the next one by way of its plugin's modules."""

import sys
from types import ModuleType

import torch

from collapsebench.components.belongings import Belongings

SOURCE = """
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
"""


def shown(module):
    return repr(
        {
            "globals": sorted(name for name in vars(module) if not name.startswith("__")),
            "values": [module.STATE, module.SEEN, module.NUMBER, module.WEIGHTS, vars(module.THING)],
            "class": {name: value for name, value in vars(module.Method).items() if not name.startswith("__")},
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
