"""Imports point one way, and the score reads no clock and does no I/O."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RANK = {"schemas": 0, "scorer": 1, "streams": 2, "gateway": 3, "clout": 4}
PURE = ("schemas", "scorer")
IMPURE_MODULES = {
    "asyncio", "confluent_kafka", "faust", "http", "httpx", "io", "logging", "multiprocessing", "os",
    "pathlib", "random", "rocksdict", "secrets", "selectors", "signal", "socket", "starlette", "structlog",
    "subprocess", "sys", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
IMPURE_CALLS = {"open", "print", "input", "now", "today", "utcnow"}
WRITES_DOCUMENTS = {Path("schemas/documents.py")}


MODULES = sorted(path.relative_to(ROOT) for package in RANK for path in (ROOT / package).rglob("*.py"))
PURE_MODULES = [path for path in MODULES if path.parts[0] in PURE and path not in WRITES_DOCUMENTS]


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield (node.module or "").partition(".")[0]


def called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_its_own_package_and_those_below(path: Path) -> None:
    package = path.parts[0]
    wrong = [
        name
        for name in imported(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if name in RANK and name != package and RANK[name] >= RANK[package]
    ]
    assert not wrong


@pytest.mark.parametrize("path", PURE_MODULES, ids=str)
def test_contracts_and_score_import_no_clock_and_no_io(path: Path) -> None:
    assert not IMPURE_MODULES & set(imported(ast.parse((ROOT / path).read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", PURE_MODULES, ids=str)
def test_contracts_and_score_ask_no_clock_and_open_no_file(path: Path) -> None:
    assert not IMPURE_CALLS & set(called(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
