"""The house: which room may import which, which package may load which framework, and which doors a room has."""

import ast
import importlib
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity")

# The rooms of a package, lowest floor first. Imports only run down, and not between rooms of the same floor.
FLOORS = {
    "lstm_shared": [["prices", "training"], ["weight_files"]],
    "jax_lstm": [["compiler"], ["recurrences"]],
    "lstm_parity": [
        ["process"],
        ["sides"],
        ["compare"],
        ["location"],
        ["diagnosis"],
        ["report"],
        ["verdict"],
        ["fuzz", "training", "bench"],
        ["cli"],
    ],
    "lstm_parity.bench": [["contenders"], ["record"], ["timing"]],
}
LONGEST = 220  # lines that a file may have unless its docstring says why it is longer

FORBIDDEN = {
    "lstm_shared": {"jax", "torch", "flax", "lightning", "optax", "matplotlib", "rich"},
    "jax_lstm": {"torch", "lightning", "torch_lstm", "lstm_parity"},
    "torch_lstm": {"jax", "flax", "optax", "jax_lstm", "lstm_parity"},
    "lstm_parity": {"jax", "torch"},  # not loaded until needed, so that --help answers at once
    "lstm_parity.sides.kinds": {"jax", "torch"},
    "lstm_parity.cli": {"jax", "torch", "matplotlib"},
}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_does_not_load_what_its_floor_must_not_know(package: str):
    code = f"import sys, {package}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert package.split(".")[0] in done.stdout.split()
    assert FORBIDDEN[package].isdisjoint(done.stdout.split())


@pytest.mark.parametrize("package", ["lstm_shared", "jax_lstm", "torch_lstm", "lstm_parity"])
def test_every_public_name_is_there_and_documented(package: str):
    module = importlib.import_module(package)
    for name in module.__all__:
        thing = getattr(module, name)
        if callable(thing) or isinstance(thing, type(module)):
            assert thing.__doc__, f"{package}.{name} has no docstring"


def test_jax_lstm_lists_its_names_and_knows_its_version():
    """The list includes names that are loaded on first use, and listing them loads nothing."""
    code = "import sys, jax_lstm; print(*dir(jax_lstm)); print('flax' in sys.modules); print(jax_lstm.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, flax_is_loaded, version = done.stdout.splitlines()
    assert {*importlib.import_module("jax_lstm").__all__, "__version__"} <= {*names.split()}
    assert flax_is_loaded == "False"
    assert version == importlib.metadata.version("lstm-parity")


def test_x64_is_not_switched_on_by_importing():
    code = "import lstm_parity.verdict.check, jax; print(jax.config.jax_enable_x64)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def files(package: str) -> Iterator[Path]:
    """Yield every file of a package or room."""
    return ROOT.joinpath(*package.split(".")).rglob("*.py")


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> Iterator[str]:
    """Yield the modules of ours that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            place = ROOT.joinpath(*name.split("."))
            if not place.with_suffix(".py").exists() and not place.is_dir():
                name = name.rpartition(".")[0]  # a function or class
            if name.partition(".")[0] in PACKAGES:
                yield name


def room_of(module: str, house: str) -> str | None:
    """Return the room of a house that a module is in, or None if it is in none."""
    if not module.startswith(f"{house}."):
        return None
    name = module.removeprefix(f"{house}.").partition(".")[0]
    return name if ROOT.joinpath(*house.split("."), name).is_dir() else None


@pytest.mark.parametrize("house", FLOORS)
def test_imports_between_rooms_run_down_only(house):
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS[house]) for room in rooms}
    there = {path.parent.name for path in ROOT.joinpath(*house.split(".")).glob("*/__init__.py")}
    assert {*floor_of} == there, "every room needs a floor in this test, and an __init__.py"
    wrong = []
    for file in files(house):
        here = room_of(module_name(file), house)
        for module in imported(file):
            other = room_of(module, house)
            if here is None or other is None or here == other:
                continue
            if floor_of[other] >= floor_of[here]:
                wrong.append(f"{module_name(file)} imports {module}, but {here}/ is not above {other}/")
    assert not wrong, "\n".join(wrong)


def test_a_room_is_entered_by_its_doors():
    """Other rooms may import only what a room lists in its ``DOORS``, and every door must be used."""
    wrong, used = [], set()
    for file in [*files("lstm_parity")]:
        here = room_of(module_name(file), "lstm_parity")
        for module in imported(file):
            room = room_of(module, "lstm_parity")
            if room is None or room == here or module.count(".") < 2:
                continue
            used.add((room, door := module.split(".")[2]))
            if door not in importlib.import_module(f"lstm_parity.{room}").DOORS:
                wrong.append(f"{module_name(file)} imports {module}, which is no door of {room}/")
    assert not wrong, "\n".join(wrong)
    rooms = [room for floor in FLOORS["lstm_parity"] for room in floor if room != "cli"]
    doors = {(room, door) for room in rooms for door in importlib.import_module(f"lstm_parity.{room}").DOORS}
    assert doors - used == set(), "some doors are never used"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_imports_itself_by_a_detour(package):
    imports = {module_name(file): {*imported(file)} for file in files(package)}
    found: list[str] = []
    done: set[str] = set()

    def follow(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            found.append(" imports ".join((*way[way.index(module) :], module)))
        elif module not in done:
            for other in imports.get(module, ()):
                if other != module:
                    follow(other, (*way, module))
            done.add(module)

    for module in imports:
        follow(module, ())
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_says_what_it_is_for_and_is_short_or_says_why_not(package):
    wrong = []
    for file in files(package):
        text = file.read_text()
        doc = ast.get_docstring(ast.parse(text)) or ""
        lines = len(text.splitlines())
        if not doc:
            wrong.append(f"{file.relative_to(ROOT)} does not say what it is for")
        elif lines > LONGEST and "One file, because" not in doc:
            wrong.append(f"{file.relative_to(ROOT)} has {lines} lines, and does not say why: One file, because …")
    assert not wrong, "\n".join(wrong)


def test_the_map_names_every_room_and_every_path_in_it_is_there():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = [room for floor in FLOORS["lstm_parity"] for room in floor]
    assert [room for room in rooms if f"| `{room}/` |" not in text] == []
    assert re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE) == rooms, "list the lowest floor first, as in this test"
    paths = re.findall(r"`((?:lstm_parity|jax_lstm|lstm_shared|parity_tests)/[\w/]*(?:\.py)?)`", text)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
