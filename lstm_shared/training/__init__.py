"""A training run, whatever the framework: its plan, its checkpoints, and what identifies it."""
