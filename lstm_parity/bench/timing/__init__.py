"""How contenders are timed: each in its own process, on the same cores, taking turns in rounds."""
