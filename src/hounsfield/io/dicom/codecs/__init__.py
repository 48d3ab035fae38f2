"""Stored pixels to numbers: one decoder a transfer syntax, frames found without a DICOM library.

`syntaxes` is the table of decoders, `frames` puts fragments and decoders together. numba and imagecodecs
are imported only when a frame that needs them is decoded.
"""
