"""Present a verdict: as text, JSON, one HTML page and pictures."""

# Files that other rooms may import.
DOORS = ["html", "plots", "report", "tables"]
