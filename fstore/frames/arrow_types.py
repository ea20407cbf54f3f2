"""Which Arrow types have a faithful digest, and the text by which a footer names each.

Types that hold the same values in another layout share one name: string,
large_string and string_view; list, large_list and list_view; dictionaries of any
index width; what is run-end encoded and what is not; in nested types dictionaries and
their values. All other differences of type count. ``form_of_type`` says which of the
layouts of a name is the one that functions see.
"""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

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
    """Strip what is only packaging.

    Extension types to their storage, views to offsets, maps to lists of pairs.
    """
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        return plain_storage(pc.run_end_decode(array))
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


def holds_list_views(kind: pa.DataType) -> bool:
    """Tell whether a type is a list view, or has one at any depth."""
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return True
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return holds_list_views(kind.value_type)
    return any(holds_list_views(kind.field(at).type) for at in range(kind.num_fields))


def check_list_views(kind: pa.DataType, column: str) -> None:
    """Refuse list views where nobody can make the lists of them that functions are given.

    Before all data are hashed.
    """
    if (pa.types.is_map(kind) or pa.types.is_fixed_size_list(kind)) and holds_list_views(kind):
        raise UnhashableInput(column, f"Arrow converts no list views within {kind}; cast them to lists first")
    for at in range(kind.num_fields):
        check_list_views(kind.field(at).type, column)


def without_list_views(array: pa.Array) -> pa.Array:
    """Make lists of list views at any depth.

    Arrow's own cast takes the offsets under nulls for offsets of a list.
    """
    kind = array.type
    if not holds_list_views(kind):
        return array
    if pa.types.is_struct(kind):
        children = [without_list_views(child) for child in array.flatten()]
        return pa.StructArray.from_arrays(children, [field.name for field in kind], mask=array.is_null())
    if pa.types.is_map(kind) or not is_listlike(kind):
        raise NotImplementedError(f"list views within {kind}")
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(lengths)])
    return pa.LargeListArray.from_arrays(offsets, without_list_views(array.flatten()), mask=array.is_null())


def byte_width(kind: pa.DataType) -> int:
    """Bytes of one value of a fixed-width type."""
    bits = int(kind.bit_width)
    return bits // 8


def form_of_type(kind: pa.DataType, *, exact: bool = False) -> pa.DataType:
    """Return the type that all types of this one's name become.

    ``exact`` keeps what an ``ArrowDtype`` names, its widths.
    """
    types = pa.types
    if types.is_run_end_encoded(kind):
        return form_of_type(kind.value_type)
    if is_text(kind) and not exact:
        return pa.large_binary() if _is_binary(kind) else pa.large_string()
    if types.is_dictionary(kind):
        index = kind.index_type if exact else pa.int32()
        return pa.dictionary(index, form_of_type(kind.value_type, exact=exact), ordered=kind.ordered)
    is_nested = types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType)
    return _form_of_nested(kind, exact=exact) if is_nested else kind


def _form_of_nested(kind: pa.DataType, *, exact: bool) -> pa.DataType:
    def part(inner: pa.DataType) -> pa.DataType:
        # Of nested dictionaries only the values are shown: nothing counts the order of theirs.
        return form_of_type(inner.value_type if types.is_dictionary(inner) else inner, exact=exact)

    types = pa.types
    if types.is_struct(kind):
        return pa.struct([(f.name, part(f.type)) for f in kind])
    if types.is_map(kind):
        return pa.map_(part(kind.key_type), part(kind.item_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(part(kind.value_type), kind.list_size)
    if not is_listlike(kind):
        return kind
    makers = (
        (types.is_list, pa.list_),
        (types.is_list_view, pa.list_view),
        (types.is_large_list_view, pa.large_list_view),
    )
    make = next((make for is_kind, make in makers if exact and is_kind(kind)), pa.large_list)
    return make(part(kind.value_type))


def readable(kind: pa.DataType) -> pa.DataType:
    """Return the type itself, or what stands in for one that Arrow does not convert for pandas."""
    if pa.types.is_run_end_encoded(kind):
        return readable(kind.value_type)
    if pa.types.is_dictionary(kind) and kind.value_type in (pa.string_view(), pa.binary_view()):
        return pa.dictionary(kind.index_type, form_of_type(kind.value_type), ordered=kind.ordered)
    is_nested = pa.types.is_nested(kind) and not isinstance(kind, pa.BaseExtensionType)
    return form_of_type(kind) if is_nested and "view" in str(kind) else kind


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def type_name(kind: pa.DataType, column: str) -> str:
    """Name a type in a footer, or raise ``UnhashableInput`` for one without a faithful digest."""
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        name = _extension_name(kind, column)
    elif is_text(kind):
        name = "binary" if _is_binary(kind) else "string"
    elif types.is_run_end_encoded(kind):
        name = type_name(kind.value_type, column)
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
        return "struct<" + ", ".join(f"{json.dumps(f.name)}: {_part_name(f.type, column)}" for f in fields) + ">"
    if types.is_map(kind):
        return f"map<{_part_name(kind.key_type, column)}, {_part_name(kind.item_type, column)}>"
    if types.is_fixed_size_list(kind):
        return f"fixed_size_list<{_part_name(kind.value_type, column)}>[{kind.list_size}]"
    if types.is_dictionary(kind):
        order = "ordered" if kind.ordered else "unordered"
        return f"dictionary<{_part_name(kind.value_type, column)}, {order}>"
    if is_listlike(kind):
        return f"list<{_part_name(kind.value_type, column)}>"
    raise _no_digest(kind, column)


def _part_name(kind: pa.DataType, column: str) -> str:
    return type_name(kind.value_type if pa.types.is_dictionary(kind) else kind, column)


def _no_digest(kind: pa.DataType, column: str) -> UnhashableInput:
    return UnhashableInput(column, f"Arrow type {kind} has no digest here; cast it to a plain type first")


def _extension_name(kind: pa.BaseExtensionType, column: str) -> str:
    if kind.extension_name not in _PANDAS_EXTENSIONS:
        raise UnhashableInput(
            column,
            f"extension type {kind.extension_name} has no digest here; cast it to its storage type {kind.storage_type}",
        )
    if kind.extension_name == "pandas.interval" and pa.types.is_timestamp(kind.subtype) and kind.subtype.tz:
        raise UnhashableInput(
            column, "pandas gives no intervals of zoned times back; make two columns of them, .left and .right"
        )
    storage = type_name(kind.storage_type, column)
    if kind.extension_name == "pandas.period":
        return f"period[{kind.freq}]<{storage}>"
    return f"interval[{kind.closed}]<{storage}>"
