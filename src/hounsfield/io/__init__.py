"""Bytes to nouns and back: what is found in a folder, one image read, one file written whole."""

from hounsfield.io.catalogue import index_of, read_volume
from hounsfield.io.files import require_writable_folder, whole_file, write_bytes, write_json, write_text
from hounsfield.io.reader import READERS, Progress, Reader
from hounsfield.io.source import Source
from hounsfield.io.volume_cache import VolumeCache

__all__ = [
    "READERS",
    "Progress",
    "Reader",
    "Source",
    "VolumeCache",
    "index_of",
    "read_volume",
    "require_writable_folder",
    "whole_file",
    "write_bytes",
    "write_json",
    "write_text",
]
