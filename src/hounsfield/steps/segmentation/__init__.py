"""Segmentation: what is outlined in an image, learned, predicted, measured and shown."""
