"""The Python functions: explain, evaluate, fit, load. They combine the packages, as `cli` does for commands."""
