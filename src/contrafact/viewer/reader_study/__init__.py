"""The reader study: can people tell real images from synthetic ones, and see which shows more of a finding."""
