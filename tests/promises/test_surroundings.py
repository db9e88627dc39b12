"""The table of surroundings names a test for each, which is there."""

import ast
from pathlib import Path

import pytest
import test_situations

TESTS = Path(__file__).parents[1]
LINES = (TESTS / "promises" / "surroundings.md").read_text("utf-8").splitlines()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES if line[:1] == "|"]


@pytest.mark.parametrize("row", ROWS[2:], ids=lambda row: row[1])
def test_a_situation_has_a_test(row):
    kind, situation, done, test = row
    assert kind and situation and done  # noqa: PT018 (one wish: no empty cell)
    path, name = test.split("::")
    tree = ast.parse((TESTS / path).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_no_situation_is_told_twice():
    situations = [row[1] for row in ROWS[2:]]
    assert len(situations) == len(set(situations)) >= 40


def test_with_those_of_files_there_are_many_and_the_readme_names_both_tables():
    assert len(ROWS[2:]) + len(test_situations.SITUATIONS) >= 60
    readme = (TESTS.parent / "README.md").read_text("utf-8")
    for table in ("surroundings.md", "test_situations.py"):
        assert f"(tests/promises/{table})" in readme
