# SPDX-License-Identifier: Apache-2.0
"""A source tree as the rules see it: each file read and parsed once."""

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One imported module. `lazy`: inside a function. `typing`: only for the type checker."""

    name: str
    line: int
    lazy: bool
    typing: bool


@dataclass
class Module:
    """One file. `name`: dotted, with the package (`transom.queue.app`)."""

    name: str
    path: Path
    text: str
    is_package: bool

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def parts(self) -> list[str]:
        """Dotted name below the package: ["queue", "app"]."""
        return self.name.split(".")[1:]

    @cached_property
    def comments(self) -> dict[int, str]:
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {t.start[0]: t.string for t in tokens if t.type == tokenize.COMMENT}

    @cached_property
    def code_lines(self) -> set[int]:
        """Lines that are code: no blanks, comments, docstrings, tables or long texts."""
        skip = {
            tokenize.COMMENT,
            tokenize.NL,
            tokenize.NEWLINE,
            tokenize.INDENT,
            tokenize.DEDENT,
            tokenize.ENDMARKER,
        }
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in skip:
                lines.update(range(token.start[0], token.end[0] + 1))
        for node in ast.walk(self.tree):
            if _is_text(node) or _is_table(node):
                assert isinstance(node, ast.stmt)
                lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        return lines

    @cached_property
    def imports(self) -> list[Import]:
        return list(_imports(self, self.tree, lazy=False, typing=False))


def _is_text(node: ast.AST) -> bool:
    """A docstring, or a constant text given a name."""
    value = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign)
        and isinstance(value, ast.Constant)
        and isinstance(value.value, str)
    )


def _is_table(node: ast.AST) -> bool:
    """A literal dictionary, list, set or tuple given an upper-case name."""
    if isinstance(node, ast.Assign):
        target: ast.expr = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    else:
        return False
    literal = isinstance(node.value, ast.Dict | ast.List | ast.Set | ast.Tuple)
    return literal and isinstance(target, ast.Name) and target.id.isupper()


def _imports(module: Module, node: ast.AST, *, lazy: bool, typing: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, lazy, typing)
        elif isinstance(child, ast.ImportFrom):
            base = _base(module, child)
            yield Import(base, child.lineno, lazy, typing)
            for alias in child.names:
                yield Import(f"{base}.{alias.name}", child.lineno, lazy, typing)
        elif isinstance(child, ast.If) and _is_type_checking(child.test):
            yield from _imports(module, child, lazy=lazy, typing=True)
        else:
            inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(module, child, lazy=inside, typing=typing)


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    here = module.name.split(".")
    above = here[: len(here) - node.level + (1 if module.is_package else 0)]
    return ".".join([*above, *([node.module] if node.module else [])])


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in {
        test.id if isinstance(test, ast.Name) else "",
        test.attr if isinstance(test, ast.Attribute) else "",
    }


def load(root: Path, package: str = "transom") -> dict[str, Module]:
    """All modules below `root` (the package's folder), by dotted name."""
    modules: dict[str, Module] = {}
    for path in sorted(root.rglob("*.py")):
        names = [package, *path.relative_to(root).with_suffix("").parts]
        is_package = names[-1] == "__init__"
        name = ".".join(names[:-1] if is_package else names)
        modules[name] = Module(name, path, path.read_text("utf-8"), is_package)
    return modules
