"""The study editor: a form that writes a study file and runs it."""
