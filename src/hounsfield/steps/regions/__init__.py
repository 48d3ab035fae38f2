"""What segmentation and detection share: pairing, the common grid, patches, windows."""
