"""A client of one bucket on S3 or a server that speaks like it.

Loaded only where an object store is used.

``S3Client(bucket, S3Options(...))``: get (whole, ranges, pinned to an ETag or version), fetch (large ones in
ranges side by side), stream, head, put, put_large (parts), delete, delete_many, copy, list, list_uploads,
abort_upload, bucket_document. Every wait ends with the caller's deadline (``runtime.deadline``).

``ObjectMissing`` and ``ObjectChanged`` speak of an object; ``S3Unavailable``, ``S3Forbidden`` and ``BreakerOpen``
(all ``StorageUnavailable``) of the store, and never of an object.
"""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.s3.buckets import Buckets, buckets_of, options_of
    from fstore.s3.client import S3Client
    from fstore.s3.errors import BreakerOpen, ObjectChanged, ObjectMissing, S3Forbidden, S3Unavailable
    from fstore.s3.listing import Listed, Upload
    from fstore.s3.objects import Fetched, ObjectFacts, Span
    from fstore.s3.options import Keys, KeySource, S3Options
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "buckets": "Buckets buckets_of options_of",
            "client": "S3Client",
            "errors": "BreakerOpen ObjectChanged ObjectMissing S3Forbidden S3Unavailable",
            "listing": "Listed Upload",
            "objects": "Fetched ObjectFacts Span",
            "options": "KeySource Keys S3Options",
        },
    )

__all__ = [
    "BreakerOpen",
    "Buckets",
    "Fetched",
    "KeySource",
    "Keys",
    "Listed",
    "ObjectChanged",
    "ObjectFacts",
    "ObjectMissing",
    "S3Client",
    "S3Forbidden",
    "S3Options",
    "S3Unavailable",
    "Span",
    "Upload",
    "buckets_of",
    "options_of",
]
