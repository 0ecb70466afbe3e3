"""What is compared, and who computes it.

A ``case`` is one model with its inputs. ``jax_backend`` and ``torch_backend`` compute it, ``extended`` computes it
exactly, and ``port`` runs someone else's implementation. The rooms above call the frameworks only through these files.
``kinds`` has an adapter for each kind of model. The rooms above never ask which kind a model is; they ask its adapter.
"""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
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
