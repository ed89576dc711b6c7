"""The Python functions: explain, evaluate, fit, load; they join packages as `cli` does for the command line."""
