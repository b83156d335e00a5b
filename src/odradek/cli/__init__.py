"""The ``odradek`` command: each sub-command in its own module, imported only when it is called."""
