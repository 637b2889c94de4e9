"""Leaves the memory such that an instance writes to little of it: every page of the snapshot that it writes to, the
host has to copy."""

import gc
import struct
import sys
from types import CodeType, FrameType

_LARGEST_GAP_BITS = 22
"""What listing the objects leaves behind takes less."""

_filled: list[object] = []
_listed: list[object] = []
_list = b""


def settle() -> None:
    """To be called when all is imported and made. What there is by then is not looked at again by the garbage
    collector, nor freed."""
    gc.collect()
    _list_objects()
    _close_gaps()
    gc.freeze()


def _list_objects() -> None:
    """Leaves a list of where objects are, for `wasmill plugin build`: it makes them such that nobody counts who uses
    them. Counts lie all over the memory."""
    global _list
    if sys.version_info[:2] != (3, 14):
        return  # What counts look like is only known of this one.
    new = gc.get_objects()
    found: dict[int, object] = {}  # Made after that: it is not among them, and not kept.
    while new:
        one = new.pop()
        # A frame is only there while its function runs.
        if id(one) not in found and not isinstance(one, FrameType):
            found[id(one)] = one
            new += gc.get_referents(one)
            if isinstance(one, CodeType):
                new += _of_code(one)
    # Kept, as what lies there must still be an object when the snapshot is taken.
    _listed.extend(found.values())
    # The mark is made here, so that there is none in the code.
    mark = bytes(255 - letter for letter in b"wasmill: objects of the snapshot")
    _list = mark + struct.pack(f"<{1 + len(_listed)}I", len(_listed), *map(id, _listed))


def _of_code(code: CodeType) -> tuple[object, ...]:
    names = (code.co_names, code.co_varnames, code.co_cellvars, code.co_freevars)
    tables = (code.co_consts, code.co_linetable, code.co_exceptiontable)
    return (code.co_name, code.co_qualname, code.co_filename, *names, *tables)


def _close_gaps() -> None:
    """Takes all memory that is free between what there is, for good. What a running plugin makes then lies together
    behind it, on few pages of its own."""
    behind = id(bytes(1 << _LARGEST_GAP_BITS))
    # The largest first, and each as large as a gap can be: those of the allocator differ by 16 bytes, of which the last
    # that can hold bytes holds 11.
    for size in [*(1 << bits for bits in range(_LARGEST_GAP_BITS, 12, -1)), *range((1 << 12) + 11, 0, -16)]:
        while id(filler := bytes(size)) < behind:
            _filled.append(filler)
    while id(smallest := object()) < behind:
        _filled.append(smallest)
