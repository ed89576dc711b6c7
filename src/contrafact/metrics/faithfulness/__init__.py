"""Does the map name what the prediction depends on?"""
