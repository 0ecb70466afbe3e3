"""The Adam settings of both sides of a comparison: the defaults of torch and optax."""

LEARNING_RATE = 1e-3
BETA_2 = 0.999
EPSILON = 1e-8
