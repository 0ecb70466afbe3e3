"""Complete trainings with either backend, and the published run that both must reproduce."""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["backends", "price_run", "published_run"]
