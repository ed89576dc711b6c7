"""The reader study: can people tell real images from drawn ones, and see which of two is worse."""
