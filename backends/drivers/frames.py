"""Output of a container as engines send it: frames of one stream each, merged here."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from abaco.errors import DriverError

#: one byte of stream number, three zero bytes, four bytes of big-endian length
#: Source: Docker Engine API, "Stream format" of container attach
HEADER_BYTES = 8
#: number of the stream on which the engine reports a failure to read the log
_ENGINE_ERROR = 3


async def payloads(chunks: AsyncIterable[bytes], skip_bytes: int = 0) -> AsyncIterator[bytes]:
    """Strip the frames' headers; stdout and stderr stay in the order they came.

    What one chunk holds comes out in one piece, however many frames it has.

    Args:
        chunks: The framed stream, cut anywhere.
        skip_bytes: Leading bytes of the merged output that are not given.

    Raises:
        DriverError: The engine says in the stream that it cannot read the log.

    """
    header = bytearray()
    left = kind = 0
    async for chunk in chunks:
        given: list[bytes] = []
        at = 0
        while at < len(chunk):
            if not left:
                part = chunk[at : at + HEADER_BYTES - len(header)]
                header += part
                at += len(part)
                if len(header) == HEADER_BYTES:
                    kind, left = header[0], int.from_bytes(header[4:])
                    header.clear()
                continue
            part = chunk[at : at + left]
            at += len(part)
            left -= len(part)
            if kind == _ENGINE_ERROR:
                raise DriverError(
                    f"the engine cannot read the output: {part.decode(errors='replace')}"
                )
            skipped = min(skip_bytes, len(part))
            skip_bytes -= skipped
            given.append(part[skipped:])
        if data := b"".join(given):
            yield data
