"""Bytes to nouns and back: what is found in a folder, one image read, one file written whole."""

from hounsfield.io.catalogue import index_of, read_volume
from hounsfield.io.files import require_writable_folder, whole_file, write_bytes, write_json, write_text
from hounsfield.io.reader import READERS, Progress, Reader
from hounsfield.io.source import Source

__all__ = [
    "READERS",
    "Progress",
    "Reader",
    "Source",
    "index_of",
    "read_volume",
    "require_writable_folder",
    "whole_file",
    "write_bytes",
    "write_json",
    "write_text",
]
