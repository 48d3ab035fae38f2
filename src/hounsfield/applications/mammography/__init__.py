"""Mammography: is the lesion of this breast malignant? With a phantom to learn on."""
