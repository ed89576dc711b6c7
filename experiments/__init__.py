"""Training, evaluation and speed: every figure of docs/results comes from a module here, run as `python -m`."""
