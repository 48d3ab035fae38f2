"""What hu predict leaves of places in images: masks, DICOM objects and tables."""
