"""What is timed: ``registry`` names every contender, and each other file makes the programs of one or some of them."""
