"""What a training run is, whatever the framework: its plan, its checkpoints, and what makes it the run it is."""
