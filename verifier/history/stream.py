"""A worker's stream of record batches: what the recorder writes and the reader checks, said once."""

from __future__ import annotations

import zlib

import numpy as np
import pyarrow as pa


def batch_crc(batch: pa.RecordBatch) -> int:
    """CRC-32 over the rows of a batch: of each column which values are null, then the values.

    Dictionary columns count with their indices; the dictionaries themselves travel in other messages. The same before
    writing and after reading: padding, offsets and bits beyond the last row are left out.
    """
    crc = 0
    for column in batch.columns:
        array = column.indices if pa.types.is_dictionary(column.type) else column
        if array.null_count:
            crc = zlib.crc32(np.packbits(array.is_null().to_numpy(zero_copy_only=False)), crc)
        width = array.type.bit_width // 8
        data = array.buffers()[1]
        if data is not None:
            crc = zlib.crc32(memoryview(data)[array.offset * width : (array.offset + len(array)) * width], crc)
    return crc
