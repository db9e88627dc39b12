"""The house stays as it was planned: rooms on floors, small files, a tree in the README."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import qghelpers

PACKAGE = Path(qghelpers.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
FLOORS = [
    {"locks", "seeds", "workers"},
    {"data", "pictures"},
    {"files", "simulation", "networks", "plots"},
    {"training"},
    {"analysis"},
    {"evaluation"},
    {"load", "boxes", "widgets"},
    {"explorers", "__main__"},
]


def room_of(path: Path) -> str:
    """The folder that a module lies in, or the module itself in the hall."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The rooms that a module imports from, also within functions, and for types alone."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "qghelpers":
            parts = node.module.split(".")[1:]
            rooms |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            rooms |= {name[1] for name in names if name[0] == "qghelpers" and len(name) > 1}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_from_its_own_room_and_from_floors_below(path):
    (floor,) = (i for i, rooms in enumerate(FLOORS) if room_of(path) in rooms)
    below = set().union(*FLOORS[:floor]) | {room_of(path)}
    if room_of(path) in FLOORS[-1]:  # the hall may use itself
        below |= FLOORS[-1]
    assert imports(path) <= below


def test_every_room_is_on_a_floor():
    assert {room_of(path) for path in FILES} == set().union(*FLOORS)


def code_lines(function: ast.FunctionDef, source: list[str]) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    lines = source[body[0].lineno - 1 : function.end_lineno]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    source = path.read_text().splitlines()
    assert len(source) <= 310
    for node in ast.walk(ast.parse("\n".join(source))):
        if isinstance(node, ast.FunctionDef):
            assert code_lines(node, source) <= 40, node.name


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_few_modules_and_says_what_it_is_for(room):
    modules = {path: path.read_text() for path in FILES if path.parent.name == room}
    if room == "networks":  # any number of networks, which are found by their names
        modules = {
            p: code for p, code in modules.items() if not re.search("^class .*name=", code, re.M)
        }
    assert len(modules) <= 8
    purpose = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    assert 3 <= len(purpose.splitlines()) <= 8


def test_the_readme_has_every_module_on_a_line_of_its_tree():
    readme = (PACKAGE.parent / "README.md").read_text()
    (tree,) = re.findall(r"```\n(qghelpers/\n.*?)```", readme, re.S)
    lines = tree.splitlines()[1:]
    shown = [re.match(r"[│├└─ ]*(\S+)\s+\S", line)[1] for line in lines]
    modules = [path.name for path in FILES]
    folders = [f"{room}/" for room in ROOMS]
    assert sorted(shown) == sorted([*modules, *folders, "samples/", "weights/", "__init__.pyi"])


@pytest.mark.parametrize(
    "name", ["anomaly", "baselines", "latent", "layout", "metrics", "observables", "plots"]
)
def test_tab_offers_what_a_module_is_for_and_nothing_else(name):
    from IPython.core.completer import provisionalcompleter
    from IPython.core.interactiveshell import InteractiveShell

    module = getattr(qghelpers, name)
    assert all(entry[0] != "_" and hasattr(module, entry) for entry in module.__all__)
    shell = InteractiveShell()
    shell.user_ns["module"] = module
    with provisionalcompleter():
        offered = {found.text for found in shell.Completer.completions("module.", 7)}
    assert offered == set(module.__all__)
    assert len(offered) <= 20


def test_a_room_can_be_entered_first():
    """No circle of imports hides behind the order in which the package is used."""
    program = """
import importlib, sys
for name in sys.argv[1:]:
    for known in [known for known in sys.modules if known.partition(".")[0] == "qghelpers"]:
        del sys.modules[known]  # as in a new process, but for other people's packages
    room = importlib.import_module(f"qghelpers.{name}")
    for public in () if name == "networks" else room.__all__:
        getattr(room, public)
    print(name)
"""
    command = [sys.executable, "-c", program, *ROOMS]
    entered = subprocess.run(command, capture_output=True, text=True)
    assert entered.stdout.split() == list(ROOMS), entered.stderr  # it ends before a room that fails


def test_no_module_asks_which_network_it_has_beyond_the_contract():
    """Nor what it has beside it: neither `hasattr` nor `isinstance` of a network."""
    for path in FILES:
        if room_of(path) == "networks":
            continue
        tree = ast.parse(path.read_text())
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            text = ast.unparse(call)
            assert not re.match(r"hasattr\((self\.)?_?(model|network)", text), (path, text)
            assert not re.match(r"isinstance\(.*(VAE|UNet|Autoencoder)", text), (path, text)


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("mistakes/*.toml")), ids=lambda path: path.stem
)
def test_each_listed_mistake_can_be_made_in_one_place(path):
    for mistake in tomllib.loads(path.read_text("utf-8"))["mistake"]:
        source = (PACKAGE.parent / mistake["file"]).read_text("utf-8")
        assert source.count(mistake["old"]) == 1, mistake["what"]
        assert mistake["new"] != mistake["old"], mistake["what"]
        for test in mistake.get("tests", ()):
            file, *names = test.split("::")
            functions = (PACKAGE.parent / file).read_text("utf-8") if names else ""
            assert not names or re.search(rf"(def|class) {names[0].split('[')[0]}\b", functions), (
                test
            )
