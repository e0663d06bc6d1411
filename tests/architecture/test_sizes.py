"""Small files, small functions, a small kernel. Raising a number here needs a decision record."""

import ast
import sys
from pathlib import Path

import pytest

from tests.support.tree import ROOT, name_of, product_files

KERNEL_FILES = 6
KERNEL_LINES = 400
FILE_LINES = 400
FUNCTION_LINES = 50
DEFINITIONS = (ast.Expr, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef)

#: A migration is written once, long and flat, and never read as a whole.
CODE = [path for path in product_files() if path.parent.name != "versions"]
KERNEL = [path for path in sorted((ROOT / "hie/kernel").glob("*.py")) if path.stem != "__init__"]


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_the_kernel_is_six_files_of_four_hundred_lines_in_all():
    assert len(KERNEL) == KERNEL_FILES
    assert sum(map(lines_of, KERNEL)) <= KERNEL_LINES


@pytest.mark.parametrize("path", KERNEL, ids=name_of)
def test_the_kernel_imports_the_standard_library_only(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("hie.kernel")
            else []
        )
    }
    assert imported <= sys.stdlib_module_names


def test_no_file_is_longer_than_four_hundred_lines():
    long = {name_of(path): n for path in CODE if (n := lines_of(path)) > FILE_LINES}
    assert not long


def test_no_function_is_longer_than_fifty_lines():
    long = {
        f"{name_of(path)}:{node.lineno} {node.name}": n
        for path in CODE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (n := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    }
    assert not long


def test_importing_a_package_does_no_work():
    busy = [
        name_of(path)
        for path in product_files()
        if path.name == "__init__.py"
        and any(
            not isinstance(node, DEFINITIONS) for node in ast.parse(path.read_text("utf-8")).body
        )
    ]
    assert not busy


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "base", "manager"])
def test_no_module_is_named_for_nothing(word: str):
    assert not [name_of(path) for path in product_files() if word in (path.stem, path.parent.name)]
