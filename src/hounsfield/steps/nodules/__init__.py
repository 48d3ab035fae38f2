"""Lung nodules: lungs found, each nodule measured, followed from scan to scan, and listed for a reader."""
