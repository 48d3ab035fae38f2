"""Diabetic retinopathy: which grade does this fundus photograph show? With a phantom to learn on."""
