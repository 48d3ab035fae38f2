"""From image to image: resized, normalised, augmented."""
