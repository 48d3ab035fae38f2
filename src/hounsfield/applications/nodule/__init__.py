"""Lung nodules in CT: found, measured, listed as a reader would want them, and followed."""
