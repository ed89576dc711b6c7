"""Fixed small inputs, and what this package computed for them when the values beside were written."""
