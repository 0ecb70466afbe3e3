"""A verdict for readers: text, JSON, one HTML page, pictures."""

# The files that other rooms may import.
DOORS = ["html", "plots", "report", "tables"]
