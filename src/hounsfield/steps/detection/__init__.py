"""Detection: what is found in an image as boxes or spheres, learned, predicted, measured and shown."""
