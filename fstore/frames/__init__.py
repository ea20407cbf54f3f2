"""pandas and Arrow without loss."""

from typing import TYPE_CHECKING

from fstore import lazy

if TYPE_CHECKING:
    from fstore.frames.arrow_types import (
        byte_width,
        holds_list_views,
        is_listlike,
        is_text,
        plain_storage,
        type_name,
        without_list_views,
    )
    from fstore.frames.convert import (
        NUMPY_KINDS,
        batches_of,
        categories_of,
        chunked,
        convert_rows,
        is_arrow,
        rows_alone,
        table_of,
        to_frame,
    )
    from fstore.frames.description import FRAME_METADATA, Description, canonical_json, describe, label, range_index
    from fstore.frames.dtypes import NOTES_KEY, dtype_name, index_and_column_fields, notes_of, restore, without_notes
    from fstore.frames.look import FrameLook, SchemaLook, look_at, look_at_schema
    from fstore.frames.number_frames import number_frame_over, own_index
    from fstore.frames.parts import (
        WIDEST_PLAIN,
        Level,
        Part,
        dtypes_of,
        is_text_or_none,
        level_at,
        plain_index,
        plain_numbers,
        text_labels,
    )
    from fstore.frames.refused_dtypes import refuse_objects
    from fstore.frames.texts import missing_marker
    from fstore.frames.zones import instants_of_clock, is_plain, zone_name
else:
    __getattr__ = lazy.names(
        __name__,
        {
            "arrow_types": "byte_width holds_list_views is_listlike is_text plain_storage type_name without_list_views",
            "convert": "NUMPY_KINDS batches_of categories_of chunked convert_rows is_arrow rows_alone table_of to_frame",
            "description": "Description FRAME_METADATA canonical_json describe label range_index",
            "dtypes": "NOTES_KEY dtype_name index_and_column_fields notes_of restore without_notes",
            "look": "FrameLook SchemaLook look_at look_at_schema",
            "number_frames": "number_frame_over own_index",
            "parts": "Level Part WIDEST_PLAIN dtypes_of is_text_or_none level_at plain_index plain_numbers text_labels",
            "refused_dtypes": "refuse_objects",
            "texts": "missing_marker",
            "zones": "instants_of_clock is_plain zone_name",
        },
    )

__all__ = [
    "Description",
    "FRAME_METADATA",
    "FrameLook",
    "Level",
    "NOTES_KEY",
    "NUMPY_KINDS",
    "Part",
    "SchemaLook",
    "WIDEST_PLAIN",
    "batches_of",
    "byte_width",
    "canonical_json",
    "categories_of",
    "chunked",
    "convert_rows",
    "describe",
    "dtype_name",
    "dtypes_of",
    "holds_list_views",
    "index_and_column_fields",
    "instants_of_clock",
    "is_arrow",
    "is_listlike",
    "is_plain",
    "is_text",
    "is_text_or_none",
    "label",
    "level_at",
    "look_at",
    "look_at_schema",
    "missing_marker",
    "notes_of",
    "number_frame_over",
    "own_index",
    "plain_index",
    "plain_numbers",
    "plain_storage",
    "range_index",
    "refuse_objects",
    "restore",
    "rows_alone",
    "table_of",
    "text_labels",
    "to_frame",
    "type_name",
    "without_list_views",
    "without_notes",
    "zone_name",
]
