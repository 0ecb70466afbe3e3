"""What is compared, and who computes it.

A ``case`` is one model with its inputs. ``jax_backend`` and ``torch_backend`` compute it, ``extended`` exactly, and
``port`` runs a stranger's implementation. No room above may call a framework in another way.
``kinds`` has an adapter for each kind of model: no room above asks which kind a model is, only its adapter for facts.
"""

# The files that other rooms may import.
DOORS = [
    "adam",
    "case",
    "case_files",
    "devices",
    "environment",
    "extended",
    "gate_traces",
    "jax_backend",
    "kinds",
    "load_port",
    "port",
    "torch_backend",
]
