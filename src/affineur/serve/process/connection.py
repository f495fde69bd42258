"""One connection of uvicorn, with bounds on all that a client can make it hold or wait for.

HTTP/1.1 by httptools, one request in work at a time, bounds on the head of a request and the wait for it, on
answers that nobody reads, and answers that leave whole. This and the module beside it are the two that know
what is inside of uvicorn.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
import sys
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from affineur.serve.framing import MOST_FIELDS, Framing, check_head, too_many_fields
from affineur.serve.holding import Holdings
from affineur.serve.problems import Problem

#: Bytes of a head, and of whatever else the parser keeps before it hands it over: trailers, extensions of
#: chunks.
_MOST_HEAD = 65536
#: Seconds within which the head of a request must have come: from connecting, and from the answer before it.
_HEAD_SECONDS = 10.0
#: Bytes of a body that wait to be taken, before no more is parsed.
_MOST_BODY = 8192
#: Bytes of answers that wait to be read, before no other request of a connection is parsed.
_MOST_UNREAD = 16384
#: Seconds in which so many bytes of an answer, or all that is left, must be read.
_READ_SECONDS, _LEAST_READ = 10.0, 65536
#: Seconds in which an answer must have begun after the client has ended sending.
_HALF_CLOSED_SECONDS = 2.0
#: What a connection may cost in one turn of the event loop, in pieces and chunks that are parsed.
_TURN = 64
#: Bytes of a body that are still read after its answer, so that the connection can be used again.
_MOST_IN_VAIN = 65536
#: Bytes that are thrown away after an answer that closes the connection: twice a body of the usual limit.
_MOST_THROWN = 8_000_000
#: Bytes that all connections of a server may make it hold beside bodies, and what is not counted of one.
_MOST_HELD, _LITTLE = 64_000_000, 4096
#: What ``SO_LINGER`` takes for not at all.
_AT_ONCE = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100"


class State(ServerState):
    """What the connections of one server share.

    Args:
        most: Connections there may be.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        #: Connections that owe a request, or the rest of one, in the order in which they began to.
        self.owing: dict[Connection, None] = {}
        #: Bytes that have come and are not parsed, and bytes of answers that are not read.
        self.holdings = Holdings(_MOST_HELD)

    def make_room(self) -> None:
        """Hang up on who has owed a request for longest, where there are too many connections."""
        if len(self.connections) > self.most and self.owing:
            longest = next(iter(self.owing))
            del self.owing[longest]
            longest.give_up()


class Connection(HttpToolsProtocol):
    """One connection: of all that comes on it, one request is in work at a time.

    uvicorn makes objects of every request that has come, and goes on reading while they wait: 40 MB of
    pipelined requests took 3 GB. httptools keeps a head until it is complete, however long it is, and copies
    it for each piece that comes: 100 MB took the event loop 17 seconds. uvicorn itself has a timeout only for
    a connection that is silent after an answer, and none for answers that nobody reads.
    """

    server_state: State
    flow: _Flow
    _kept = 0  # bytes that the parser has been given since it last handed something over
    _head = 0  # bytes of the head of the request that is in work
    _busy = False  # a whole request waits for its answer; nothing after it is parsed
    _ended = False  # the client sends no more
    _refused = False  # so nothing more is parsed
    _holds = False
    _thrown = 0  # bytes that came after that
    _budget = _TURN  # what this turn has left
    _resting = False  # until the next turn
    _timer: asyncio.TimerHandle | None = None  # for the next head, or for what is left of an answer
    _reading: asyncio.TimerHandle | None = None  # for a client to read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's, too
        """Begin to wait for the first head."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(_MOST_UNREAD)
        self.flow = _Flow(self, transport)
        self._framing = Framing()
        self.server_state.owing[self] = None
        self.server_state.make_room()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        self._watch_no_more()
        self._framing.clear()
        self.server_state.owing.pop(self, None)
        self.server_state.holdings.release(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse as much as is the turn of."""
        if not self._refused:
            self._budget = _TURN
            self._framing.add(data)
            self.go_on()
            return
        self._thrown += len(data)
        if self._thrown > _MOST_THROWN:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's hangs up, whatever waits
        """Answer who has ended sending, but not for long: who has gone away looks the same.

        Returns:
            Whether the connection stays for now.
        """
        self._ended = True
        if self._busy:
            self.loop.call_later(_HALF_CLOSED_SECONDS, self._leave)
        return self._busy

    def go_on(self) -> None:
        """Parse until a request is whole, and read no more than that."""
        framing, transport = self._framing, self.transport
        while framing.left and not self._must_wait() and not transport.is_closing():
            if self._budget <= 0:
                self._rest()
                break
            try:
                piece = self._take()
            except Problem as problem:
                self._refuse(problem)
                break
            self._budget -= framing.cost
            if piece:
                self._kept += len(piece)
                super().data_received(piece)
            if len(self.headers or ()) > MOST_FIELDS:
                self._refuse(too_many_fields())
        if self._refused or transport.is_closing():
            framing.clear()
        elif self._ended:
            if not framing.left and not self._busy:
                transport.close()
        elif framing.left:
            self.flow.pause_reading()
        elif self.flow.read_paused and not self._full():
            self.flow.read_on()
        self._tell_held()

    def _take(self) -> bytes:
        room = _MOST_HEAD - self._kept
        if not room:
            raise Problem("too_large", f"a head of more than {_MOST_HEAD} bytes", status=431)
        return self._framing.take(room)

    def _rest(self) -> None:
        """Let others have their turn."""
        if not self._resting:
            self._resting = True
            self.loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._resting, self._budget = False, _TURN
        self.go_on()

    def give_up(self) -> None:
        """Hang up, and let the kernel forget what it was to send."""
        with contextlib.suppress(OSError):  # it may be closed already
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def on_headers_complete(self) -> None:
        """Begin a request."""
        self._head, self._kept = self._kept, 0
        try:
            version = self.parser.get_http_version()
            self._framing.end_head(
                check_head(self.parser.get_method().decode("ascii"), version, self.headers)
            )
        except Problem as problem:
            self._refuse(problem)
            return
        self._wait_no_more()
        super().on_headers_complete()
        self.headers = []  # what a trailer says comes too late to be part of the head
        answer = _Answer(self)
        self.cycle.transport = answer  # type: ignore[assignment]  # it is asked for nothing that this has not
        self.cycle.on_response = functools.partial(self._end, answer)

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._kept = 0
        if not self._refused:
            super().on_body(body)
            if self._full():
                self.flow.pause_reading()

    def on_message_complete(self) -> None:
        """Parse no more until there is an answer."""
        self._framing.end_request()
        if not self._refused:
            super().on_message_complete()
            self._busy = not self.cycle.response_complete
            if self._busy:
                self.server_state.owing.pop(self, None)

    def on_response_complete(self) -> None:
        """Begin to wait for the next head, unless that is there already."""
        self.cycle.body.clear()
        self._head = 0
        if self._refused:  # it is being closed
            return
        self._busy = True  # uvicorn reads on in this call, and sets a timer after that
        super().on_response_complete()
        self._busy = False
        self.server_state.owing.pop(self, None)
        self.server_state.owing[self] = None
        self._wait()
        if self._framing.left or self._ended or self.flow.read_paused or self._holds:
            self.go_on()

    def pause_writing(self) -> None:
        """Begin to watch whether the client reads."""
        super().pause_writing()
        if self._reading is None:
            self._watch(self.transport.get_write_buffer_size())
        self._tell_held()

    def resume_writing(self) -> None:
        """Go on with what came after the request whose answer is being read."""
        super().resume_writing()
        self._watch_no_more()
        if self._timer is not None:  # an answer that took long to be read takes nothing from the next head
            self._wait()
        self.go_on()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that is silent after its answer, unless that is still being read."""
        if not self.transport.get_write_buffer_size():
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        """End soon: at once where nothing is owed but what is thrown away."""
        if self._refused:
            self.transport.close()
        else:
            super().shutdown()

    def in_vain(self) -> bool:
        """Whether an answer comes before so much of its request that the rest is not worth reading."""
        return self.cycle.more_body and (self._framing.chunked or self._framing.body > _MOST_IN_VAIN)

    def close(self) -> None:
        """Send what is to be sent, and hang up.

        Who still sends would have the answer taken away by a reset: so what comes for a while is read, and
        thrown away unparsed (RFC 9112, 9.6).
        """
        self._refused = True
        self._framing.clear()
        if self._ended or self.transport.is_closing():
            self.transport.close()
            return
        self.server_state.owing.setdefault(self)
        self.transport.write_eof()
        self.flow.read_on()
        self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(Problem("validation", "this is no request of HTTP/1.1", status=400))

    def _must_wait(self) -> bool:
        return self._busy or self._refused or self.flow.write_paused or self._full()

    def _full(self) -> bool:
        """Whether there is enough of a body that was not taken yet."""
        return self.cycle is not None and len(self.cycle.body) >= _MOST_BODY

    def _tell_held(self) -> None:
        unread = self.transport.get_write_buffer_size() if self.flow.write_paused else 0
        size = self._framing.left + self._head + self._kept + unread
        if unread or (size > _LITTLE and not self.transport.is_closing()):
            self._holds = True
            self.server_state.holdings.hold(self, size)
        elif self._holds:
            self._holds = False
            self.server_state.holdings.release(self)

    def _end(self, answer: _Answer) -> None:
        answer.flush()  # there may be no body
        self.on_response_complete()

    def _wait(self) -> None:
        self._wait_no_more()
        self._timer = self.loop.call_later(_HEAD_SECONDS, self._late)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """Hang up on who has sent no head in time, or has not read the end of an answer."""
        if self.flow.write_paused:  # which is watched already
            self._wait()
        elif self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.give_up()
        else:
            self.transport.close()

    def _watch(self, before: int) -> None:
        self._reading = self.loop.call_later(_READ_SECONDS, self._look, before)

    def _watch_no_more(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _look(self, before: int) -> None:
        """Hang up on who does not read, or by drops."""
        left = self.transport.get_write_buffer_size()
        if left > before - _LEAST_READ:
            self.give_up()
        else:
            self._watch(left)

    def _leave(self) -> None:
        """Take who has ended sending for gone, unless an answer has begun."""
        if self._busy and not self.cycle.response_started:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Hang up; with an answer, unless another one is under way."""
        if self._refused:
            return
        self._refused = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.response_started:
            body = to_json(problem.body())
            headers = {**problem.headers, "Content-Type": "application/json", "Connection": "close"}
            head = "".join(f"{name.lower()}: {value}\r\n" for name, value in headers.items()).encode()
            length = b"content-length: %d\r\n\r\n" % len(body)
            self.transport.write(STATUS_LINE[problem.status] + head + length + body)
        if cycle is not None and not cycle.response_complete:  # nobody hears it any more
            cycle.disconnected, cycle.waiting_for_100_continue = True, False
            cycle.message_event.set()
        self.close()


class _Flow(FlowControl):
    """Reads on only where a connection has nothing left to parse; uvicorn does at every turn."""

    def __init__(self, connection: Connection, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        """Let the connection parse what it has, and read on after that."""
        if self.read_paused:
            self._connection.go_on()

    def read_on(self) -> None:
        """Read."""
        super().resume_reading()


class _Answer:
    """The transport of one answer: its head leaves with the beginning of its body.

    uvicorn writes them one after the other: two system calls here, and two wakings there.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection, self._cycle = connection, connection.cycle
        self._transport = connection.transport
        self._head: bytes | None = None  # empty once it is written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write, or keep a head until there is more."""
        if self._head is None and not data.startswith(_CONTINUE):
            if self._cycle.keep_alive and self._connection.in_vain():
                self._cycle.keep_alive = False
                data = data[:-2] + b"connection: close\r\n\r\n"
            self._head = data
        elif self._head:
            self._head, whole = b"", self._head + data
            self._transport.write(whole)
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close, once what is kept is written."""
        self.flush()
        if self._cycle.more_body:
            self._connection.close()
        else:
            self._transport.close()

    def flush(self) -> None:
        """Write what is kept."""
        if self._head:
            self._head, head = b"", self._head
            self._transport.write(head)
