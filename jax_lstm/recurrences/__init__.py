"""The ways to run one layer in one direction, one file per implementation.

``step`` has the equations and the types that they all take. ``choose`` has the rule for ``"auto"`` and every threshold.
A new implementation needs a file, a name in ``choose`` and a line in ``by_name``.
"""
