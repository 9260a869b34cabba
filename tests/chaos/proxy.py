"""A TCP proxy between the pipeline and a server, in a thread of its own: it can be cut, and it can stall.

Cut: every connection is reset and new ones are refused. Stalled: nothing is forwarded and nothing is closed, as by a
firewall that forgot the connections; new ones are accepted and hear nothing.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any

_PORTION = 1 << 18


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`upstream`; works from construction to `close`."""

    def __init__(self, upstream: int) -> None:
        self._upstream, self.port = upstream, 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy of {upstream}", daemon=True)
        self._thread.start()
        self._do(self._listen())
        self.resume()

    def cut(self) -> None:
        self._do(self._cut())

    def restore(self) -> None:
        """Listen again on the same port."""
        self._do(self._listen())

    def stall(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.clear)

    def resume(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def close(self) -> None:
        self._do(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_PORTION)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        upper: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            above, upper = await asyncio.open_connection("127.0.0.1", self._upstream, limit=_PORTION)
            self._writers.add(upper)
            await asyncio.gather(self._pump(reader, upper), self._pump(above, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            for end in (writer, upper):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_PORTION):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
