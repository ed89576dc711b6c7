"""Does the map stay when nothing that matters changes?"""
