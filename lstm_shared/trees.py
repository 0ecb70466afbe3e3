"""Convert nested dictionaries of arrays, as other frameworks keep them, to the flat ones that files hold, and back."""

from collections.abc import Iterator, Mapping
from typing import Any

from lstm_shared.argument_kinds import in_words, is_mapping, is_text, require_mapping
from lstm_shared.errors import WeightsError


def flatten_tree(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten a nested dictionary, joining names with "/", so that .safetensors and .npz files can hold it.

    Raises:
        WeightsError: ``unflatten_tree`` could not restore a name (not a string, empty, or with a "/" in it), or a
            branch is empty.
    """
    if not is_mapping(tree):
        raise WeightsError(f"expected a dictionary of arrays, got {type(tree).__name__}")
    try:
        leaves = [(path, leaf) for path, leaf in _leaves(tree) if path]
    except RecursionError:
        raise WeightsError("the dictionary holds itself, or hundreds of dictionaries in each other") from None
    rule = 'a name is a string, not empty and without "/"'
    WeightsError.raise_any(
        [
            f"{list(path)}: {rule}"
            for path, _ in leaves
            if not all(isinstance(n, str) and n and "/" not in n for n in path)
        ]
        + [f"{list(path)}: an empty branch" for path, leaf in leaves if is_mapping(leaf)]
    )
    return {"/".join(path): leaf for path, leaf in leaves}


def unflatten_tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested dictionary that ``flatten_tree`` flattened.

    Raises:
        WeightsError: a name has an empty piece, or is both an array and a branch ("a" next to "a/b").
    """
    require_mapping(flat)
    WeightsError.raise_any([f"the name {in_words(name)} is not a string" for name in flat if not is_text(name)])
    branches = {name[:place] for name in flat for place, letter in enumerate(name) if letter == "/"}
    WeightsError.raise_any(
        [f'{name!r} has an empty part before, between or after "/"' for name in flat if "" in name.split("/")]
        + [f"{name!r} names both an array and a branch: rename one" for name in flat if name in branches]
    )
    tree: dict[str, Any] = {}
    for name, array in flat.items():
        *branches, leaf = name.split("/")
        branch = tree
        for piece in branches:
            branch = branch.setdefault(piece, {})
        branch[leaf] = array
    return tree


def _leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield (path, value) for each leaf. An empty branch counts as a leaf."""
    if is_mapping(tree) and tree:
        for name, below in tree.items():
            yield from _leaves(below, (*path, name))
    else:
        yield path, tree
