"""Does the map lie where the truth lies?"""
