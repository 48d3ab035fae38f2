"""DICOM: headers, geometry, stacks of slices, pixels. pydicom is imported only when used."""
