"""Pictures that a network asks for, by gradient ascent."""
