"""Signatures as the source has them: ``ArrayLike`` by its name, shapes as ``Float[Array, "time batch hidden"]``.

Left to itself, autodoc writes what the annotations evaluate to: ``ArrayLike`` is a union of eight types then.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

# Names of ours that a reader of the signature would have to look up.
SPELLED_OUT = {
    "State": "tuple[Array, Array]",
    "Loss": "Callable[[PyTree, PyTree], tuple[ArrayLike, ArrayLike]]",
    "Params": "Mapping[str, ArrayLike]",
    "Spec": "ByHandSpec | LSTMSpec | CellSpec | ForecasterSpec",
    "States": "Sequence[ArrayLike]",
    "VERDICT_DTYPE": "'float64'",
    "Truth": "Literal['float64', 'extended']",
    "Weights": "Mapping[str, ArrayLike]",
}


class SpellOut(ast.NodeTransformer):
    """Replace the names in ``SPELLED_OUT``, and annotations that are written as strings, by what they stand for."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.parse(SPELLED_OUT[node.id], mode="eval").body if node.id in SPELLED_OUT else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id == "Literal":
            return node
        match node.slice:
            # Float[Array, "time batch"] stays as it is.
            case ast.Tuple(elts=[_, ast.Constant(value=str(axes)) as shape]):
                shape.value = axes.strip()
                return node
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            return self.visit(ast.parse(node.value, mode="eval").body)
        return node


def annotated(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (argument for argument in (arguments.vararg, arguments.kwarg) if argument)


def signature_as_written(app: Sphinx, what: str, name: str, subject: object, *_: object) -> tuple[str, str] | None:
    """Give autodoc the signature that stands in the source; None where there is none, as for a dataclass."""
    if what not in ("function", "method"):
        return None
    try:
        source = inspect.getsource(inspect.unwrap(subject))  # pyright: ignore[reportArgumentType]
    except (OSError, TypeError):
        return None
    (function,) = ast.parse(textwrap.dedent(source)).body
    if not isinstance(function, ast.FunctionDef):
        return None
    arguments = function.args
    for argument in annotated(arguments):
        if argument.annotation:
            argument.annotation = SpellOut().visit(argument.annotation)
    for default in ast.walk(ast.Tuple([*arguments.defaults, *filter(None, arguments.kw_defaults)])):
        if isinstance(default, ast.Name):
            default.id = SPELLED_OUT.get(default.id, default.id)
    if what == "method" and arguments.args and arguments.args[0].arg in ("self", "cls"):
        del arguments.args[0]
    returns = ast.unparse(SpellOut().visit(function.returns)) if function.returns else ""
    return f"({ast.unparse(arguments)})", returns


def short_names(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Node) -> nodes.Node | None:
    """Find what a signature calls by its bare name, ``PriceData``, wherever it is documented."""
    if node.get("refdomain") != "py":
        return None
    objects = env.domains.python_domain.objects
    last = node["reftarget"].rpartition(".")[2]
    found = sorted(name for name in objects if name.rpartition(".")[2] == last and objects[name].objtype == "class")
    if not found:
        return None
    where = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], where.docname, where.node_id, shown, found[0])


def no_way_back(app: Sphinx, page: str, template: str, context: dict[str, str], tree: nodes.document | None) -> None:
    """Remove viewcode's links from source to reference: it guesses one name for each module, and often wrongly."""
    if page.startswith("_modules/"):
        context["body"] = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-signature", signature_as_written)
    app.connect("missing-reference", short_names)
    app.connect("html-page-context", no_way_back)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
