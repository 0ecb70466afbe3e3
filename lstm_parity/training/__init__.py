"""Complete trainings with either backend, and the published run that both must reproduce."""

# The files that other rooms may import.
DOORS = ["backends", "price_run", "published_run"]
