"""Images: modules in the form that registries keep, and that Istio and others fetch.

from pywasmfilter_compiler.oci import Description, package, push

record = push("hello.wasm", "oci://registry.example.com/team/hello:1.0.0")
print(record.manifest_digest, record.module_sha256)
"""

from __future__ import annotations

from .image import FORMATS, Format
from .publish import Description, package, push
from .record import ImageRecord, read_record, record_path, write_record

__all__ = [
    "FORMATS",
    "Description",
    "Format",
    "ImageRecord",
    "package",
    "push",
    "read_record",
    "record_path",
    "write_record",
]
