"""How few voxels does the map need?"""
