"""Images that maximise an activation or output of a network, by gradient ascent."""
