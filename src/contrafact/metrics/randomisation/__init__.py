"""Does the map change when the model forgets?"""
