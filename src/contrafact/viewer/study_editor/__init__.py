"""The form that writes a study file and runs it."""
