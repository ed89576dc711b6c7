"""Child processes: start them, bound them, hear how far they are, end them."""
