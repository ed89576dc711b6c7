"""How long things take, as a ratio to the library a user would take instead."""
