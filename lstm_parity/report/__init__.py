"""Present a verdict: as text, JSON, one HTML page and pictures."""

# The modules that other rooms may import (ARCHITECTURE.md says what a room is).
DOORS = ["html", "plots", "report", "tables"]
