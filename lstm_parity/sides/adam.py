"""Adam, as both sides of a comparison step it: torch's and optax's default settings."""

LEARNING_RATE = 1e-3
BETA_2 = 0.999
EPSILON = 1e-8
