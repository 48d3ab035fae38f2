"""How two images are recognised as one picture: what is kept of each, which are compared, how they are laid
over each other. `steps.duplicates` is the door.
"""
