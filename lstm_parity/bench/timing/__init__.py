"""How it is timed: in processes of their own, on the same cores, in rounds that alternate."""
