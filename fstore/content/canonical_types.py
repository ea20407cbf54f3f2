"""Which Arrow types have a faithful digest, and the text by which a footer names each.

Types that hold the same values in another layout share one name: string,
large_string and string_view; list, large_list and list_view; dictionaries of any
index width. All other differences of type count.
"""

from __future__ import annotations

import json

import pyarrow as pa

from fstore.errors import UnhashableInput

_PANDAS_EXTENSIONS = ("pandas.period", "pandas.interval")


def is_text(kind: pa.DataType) -> bool:
    """Is this a type of values of varying length: strings and binaries of every offset width, and views."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
    )


def is_listlike(kind: pa.DataType) -> bool:
    """Is this a list of varying length, in any layout, or a map."""
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
        or types.is_map(kind)
    )


def plain_storage(array: pa.Array) -> pa.Array:
    """Strip what is only packaging: extension types to their storage, views to offsets, maps to lists of pairs."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_map(array.type):
        pairs = pa.StructArray.from_arrays([array.keys, array.items], ["key", "value"])
        validity, offsets = array.buffers()[:2]
        buffers = [validity, offsets]
        return pa.ListArray.from_buffers(pa.list_(pairs.type), len(array), buffers, -1, array.offset, [pairs])
    if pa.types.is_string_view(array.type):
        return array.cast(pa.large_string())
    if pa.types.is_binary_view(array.type):
        return array.cast(pa.large_binary())
    return array


def byte_width(kind: pa.DataType) -> int:
    """Bytes of one value of a fixed-width type."""
    bits = int(kind.bit_width)
    return bits // 8


def type_name(kind: pa.DataType, column: str) -> str:
    """Name a type in a footer, or raise ``UnhashableInput`` for one without a faithful digest."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        name = _extension_name(kind, column)
    elif is_text(kind):
        name = (
            "binary" if types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind) else "string"
        )
    elif types.is_nested(kind) or types.is_dictionary(kind):
        name = _nested_name(kind, column)
    elif types.is_null(kind) or types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind):
        name = str(kind)
    else:
        raise _no_digest(kind, column)
    return name


def _nested_name(kind: pa.DataType, column: str) -> str:
    types = pa.types
    if types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return "struct<" + ", ".join(f"{json.dumps(f.name)}: {type_name(f.type, column)}" for f in fields) + ">"
    if types.is_map(kind):
        return f"map<{type_name(kind.key_type, column)}, {type_name(kind.item_type, column)}>"
    if types.is_fixed_size_list(kind):
        return f"fixed_size_list<{type_name(kind.value_type, column)}>[{kind.list_size}]"
    if types.is_dictionary(kind):
        order = "ordered" if kind.ordered else "unordered"
        return f"dictionary<{type_name(kind.value_type, column)}, {order}>"
    if is_listlike(kind):
        return f"list<{type_name(kind.value_type, column)}>"
    raise _no_digest(kind, column)


def _no_digest(kind: pa.DataType, column: str) -> UnhashableInput:
    return UnhashableInput(column, f"Arrow type {kind} has no digest here; cast it to a plain type first")


def _extension_name(kind: pa.BaseExtensionType, column: str) -> str:
    if kind.extension_name not in _PANDAS_EXTENSIONS:
        raise UnhashableInput(
            column,
            f"extension type {kind.extension_name} has no digest here; cast it to its storage type {kind.storage_type}",
        )
    storage = type_name(kind.storage_type, column)
    if kind.extension_name == "pandas.period":
        return f"period[{kind.freq}]<{storage}>"
    return f"interval[{kind.closed}]<{storage}>"
