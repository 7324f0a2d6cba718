"""The hash of a component's code: of the source that was loaded, with the files beside it that the source names.

A hash is the first 64 bits of SHA-256, as 16 hexadecimal digits. Comments, docstrings and blank lines do not count.
"""

from __future__ import annotations

import ast
import inspect
import io
import marshal
import sys
import sysconfig
import tokenize
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Final, NamedTuple

LARGEST: Final = 2**24
"""A named file of more bytes than this is data and not code. The hash leaves it out."""

PLAIN: Final = (bool, int, float, str, bytes, type(None))
"""The types of constants of a notebook that the hash of a class follows."""


class ModuleSources(NamedTuple):
    """The source of a module as it was loaded, and the files that it uses from beside it."""

    root: Path
    """The folder that counts as beside it."""
    path: Path
    """The module itself."""
    content: dict[Path, bytes]
    """The bytes of all files, the module among them."""


def module_sources(module: ModuleType) -> ModuleSources | None:
    """Return the source of a module and of what it uses from beside it; None if the module has no source.

    Beside it lie the files of its folder, or for an installed module those of its package. Used is what the source
    imports, also inside of functions, and every file whose name stands in it as a text. What a program finds out only
    when it runs, such as the name of a module that it computes, is not followed.
    """
    path = _file(module)
    if path is None or path.suffix != ".py":
        return None
    root = _root(module, path)
    found = {path: _source(path, [module])}
    waiting = [path]
    while waiting:
        current = waiting.pop()
        for used in _used(found[current], current, root):
            if used not in found:
                found[used] = _source(used, list(sys.modules.values()))
                waiting += [used] if used.suffix == ".py" else []
    return ModuleSources(root, path, found)


def module_hash(module: ModuleType) -> str | None:
    """Return the hash of a module and of what it uses from beside it; None if the module has no source."""
    sources = module_sources(module)
    if sources is None:
        return None
    parts = {
        "" if file == sources.path else file.relative_to(sources.root).as_posix(): (
            normal(source) if file.suffix == ".py" else source
        )
        for file, source in sources.content.items()
    }
    return _digest(part for name in sorted(parts) for part in (name.encode(), parts[name]))


def class_hash(component: type) -> str:
    """Return the hash of a class of a notebook: of its functions, and of the functions and constants that they name.

    Only names of the same notebook are followed. A value that is no number and no text, such as a tensor, does not
    count.
    """
    parts: dict[str, bytes] = {}
    waiting: list[tuple[str, object]] = [(component.__qualname__, component)]
    while waiting:
        name, value = waiting.pop()
        if name in parts:
            continue
        if isinstance(value, PLAIN):
            parts[name] = repr(value).encode()
        elif isinstance(value, type) and value.__module__ == component.__module__:
            parts[name] = _class_values(value)
            waiting += [(f"{name}.{key}", inner) for key, inner in vars(value).items() if _function(inner)]
        elif (function := _function(value)) is not None and function.__module__ == component.__module__:
            parts[name] = _function_source(function)
            named = set(_names(function.__code__)) & function.__globals__.keys()
            waiting += [(key, function.__globals__[key]) for key in named]
    return _digest(part for name in sorted(parts) for part in (name.encode(), parts[name]))


def harness_hash() -> str:
    """Return the hash of the source of the harness itself: of all modules of the package and of the shipped methods."""
    package = Path(__file__).parents[1]
    shipped = "collapsebench_*.py", "collapsebench_plugins/*.py", "plugins/**/*.py"
    files = [*package.rglob("*.py"), *(file for pattern in shipped for file in package.parent.glob(pattern))]
    return _digest(part for file in sorted(files) for part in (file.name.encode(), file.read_bytes()))


def normal(source: bytes) -> bytes:
    """Return source without comments, docstrings, blank lines and spaces at the end of lines.

    The text of a line stays as it is, so that all versions of Python agree. What is not Python is returned unchanged.
    """
    try:
        text = "\n".join(io.TextIOWrapper(io.BytesIO(source), encoding=_encoding(source)).read().splitlines())
        cuts = sorted({*_docstrings(text), *_comments(text)}, reverse=True)
    except (SyntaxError, ValueError, tokenize.TokenError, LookupError):
        return source
    lines = [line.encode() for line in text.split("\n")]
    for cut in cuts:
        _remove(lines, cut)
    return b"\n".join(line.rstrip() for line in lines if line.strip())


class _Span(NamedTuple):
    """A part of a text: lines from 0, columns in bytes of UTF-8."""

    first: int
    begin: int
    last: int
    end: int


def _encoding(source: bytes) -> str:
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    return encoding


def _docstrings(text: str) -> Iterator[_Span]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            given = node.body[0]
            yield _Span(given.lineno - 1, given.col_offset, (given.end_lineno or 0) - 1, given.end_col_offset or 0)


def _comments(text: str) -> Iterator[_Span]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start[0] - 1, len(token.line[: token.start[1]].encode())
            yield _Span(row, column, row, column + len(token.string.encode()))


def _remove(lines: list[bytes], span: _Span) -> None:
    before, behind = lines[span.first][: span.begin], lines[span.last][span.end :]
    lines[span.first : span.last + 1] = [before + behind]


def _digest(parts: Iterable[bytes]) -> str:
    total = sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)  # two parts are never one that reads like both
    return total.hexdigest()[:16]


def _file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if file is None else Path(file).resolve()


def _root(module: ModuleType, path: Path) -> Path:
    """Return the folder that counts as beside a module: the highest one of its package, or its own.

    A single module among the installed ones has nothing beside it: its root is the file itself.
    """
    depth = module.__name__.count(".") + (path.name == "__init__.py")
    if depth:
        return path.parents[depth - 1]
    installed = {Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib", "stdlib")}
    return path if path.parent in installed else path.parent


def _source(path: Path, modules: Iterable[ModuleType]) -> bytes:
    """Return the source that was loaded if the loader of one of the modules has kept it, or the file as it is now."""
    for module in modules:
        kept = getattr(getattr(module, "__loader__", None), "source", None)
        if isinstance(kept, bytes) and _file(module) == path:  # few keep it; to find a file takes longer
            return kept
    return path.read_bytes()


def _used(source: bytes, path: Path, root: Path) -> Iterator[Path]:
    """Yield the files under the root that a source imports or names."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _named_file(node.value, path, root)
        for parts, level in _imports(node):
            base = path.parents[level - 1] if level else None
            for folder in (base,) if base is not None else (path.parent, root, root.parent):
                yield from (file for file in _module_files(folder, parts) if file.is_relative_to(root))


def _imports(node: ast.AST) -> Iterator[tuple[list[str], int]]:
    """Yield what an import statement may mean: the parts of dotted names, and how many folders up they begin."""
    match node:
        case ast.Import(names):
            yield from ((alias.name.split("."), 0) for alias in names)
        case ast.ImportFrom(module, names, level):
            parts = module.split(".") if module else []
            yield from (([*parts, alias.name], level or 0) for alias in names)
        case ast.Call(args=[ast.Constant(str(name)), *_]):  # import_module("name")
            yield name.split("."), 0


def _module_files(folder: Path, parts: list[str]) -> Iterator[Path]:
    """Yield the files of a dotted name: those of its packages, and that of the module."""
    for part in parts:
        if not part.isidentifier():
            return
        for file in (folder / f"{part}.py", folder / part / "__init__.py"):
            if file.is_file():
                yield file.resolve()
        folder /= part


def _named_file(text: str, path: Path, root: Path) -> Iterator[Path]:
    if not 0 < len(text) < 256 or "\0" in text or text != text.strip():
        return
    try:
        file = (path.parent / text).resolve()
        if file.is_relative_to(root) and file.is_file() and file.stat().st_size <= LARGEST:
            yield file
    except OSError:  # a text that cannot be a path
        return


def _function(value: object) -> FunctionType | None:
    """Return the function behind a method, a class method or a property."""
    inner = getattr(value, "__func__", getattr(value, "fget", getattr(value, "func", value)))
    return inner if isinstance(inner, FunctionType) else None


def _function_source(function: FunctionType) -> bytes:
    """Return the source of a function with its defaults, or its compiled code if the source is not kept."""
    try:
        source = inspect.getsource(function).encode()
    except (OSError, TypeError):
        source = marshal.dumps(function.__code__)
    return source + repr([value for value in function.__defaults__ or () if isinstance(value, PLAIN)]).encode()


def _class_values(component: type) -> bytes:
    """Return the plain values of a class, the defaults of its fields among them."""
    fields = getattr(component, "model_fields", {})
    values = {name: info.default for name, info in fields.items()}
    values |= {name: value for name, value in vars(component).items() if not name.startswith("_")}
    return repr(sorted((name, value) for name, value in values.items() if isinstance(value, PLAIN))).encode()


def _names(code: CodeType) -> Iterator[str]:
    """Yield the global names in a function and in the functions inside of it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
