"""Copies of plugin files: what a worker loads later is what the driver has loaded."""

from __future__ import annotations

from collapsebench.components import discovery
from collapsebench.components.freezing import FrozenPlugins

METHOD = """
from collapsebench import Family, Method, hookimpl
from {helper} import WEIGHT

class Mine(Method):
    name = "{name}"
    family = Family.OBJECTIVE

    @hookimpl
    def kl_weight(self, progress):
        return WEIGHT

@hookimpl
def collapsebench_components():
    return [Mine]
"""


def plugin(folder, name, helper="helper_of_frozen"):
    path = folder / f"{name}.py"
    path.write_text(METHOD.format(name=name, helper=helper))
    return path


def code(path, name):
    return discovery.load([path]).entry("method", name).code


def test_a_copy_has_the_code_that_was_loaded_whatever_becomes_of_the_file(tmp_path):
    (tmp_path / "helper_of_frozen.py").write_text("WEIGHT = 0.5\n")
    path = plugin(tmp_path, "first-frozen")
    before = code(path, "first-frozen")
    (tmp_path / "helper_of_frozen.py").write_text("WEIGHT = 0.7\n")
    (copy,) = FrozenPlugins([path]).write(tmp_path / "copies")
    path.write_text("nothing of it")
    assert code(copy, "first-frozen") == before


def test_plugins_of_one_folder_share_a_file_beside_them_in_the_copy_too(tmp_path):
    (tmp_path / "helper_of_frozen.py").write_text("WEIGHT = 0.5\n")
    paths = [plugin(tmp_path, "first-frozen"), plugin(tmp_path, "second-frozen")]
    discovery.load(paths)
    copies = FrozenPlugins(paths).write(tmp_path / "copies")
    assert {copy.parent for copy in copies} == {tmp_path / "copies" / "0"}
    assert discovery.load(copies).entry("method", "second-frozen")


def test_the_digest_follows_every_file(tmp_path):
    found = set()
    for weight in (0.5, 0.7):
        (tmp_path / "helper_of_frozen.py").write_text(f"WEIGHT = {weight}\n")
        path = plugin(tmp_path, "first-frozen")
        discovery.load([path])
        found.add(FrozenPlugins([path]).digest)
    assert len(found) == 2
