"""What is asked of JAX's compiler beside the ordinary: a backward pass by hand, a loop as one kernel."""
