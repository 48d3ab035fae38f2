"""The brain in T1-weighted MRI: found, its tissues measured, and followed from visit to visit of one
patient.
"""
