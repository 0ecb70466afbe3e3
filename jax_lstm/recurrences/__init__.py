"""The ways to run one layer in one direction: a file for each implementation, named after it.

``step`` has the equations and the types that all of them take, ``choose`` the rule by which ``"auto"`` chooses and
every threshold. A new implementation is a new file, a name in ``choose`` and a line in ``by_name``.
"""
