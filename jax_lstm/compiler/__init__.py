"""Special requests to JAX's compiler: a backward pass written by hand, and a loop as one kernel."""
