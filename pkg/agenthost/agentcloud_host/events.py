"""What the streams of calls have said, kept for a gateway that goes on with one.

In memory and bounded: the streams of all sessions share what there is, and those that
are over make room first.
"""

import asyncio
import collections

STREAM_EVENTS, STREAM_SIZE = 512, 1 << 20  # of one stream; its newest event is kept at any size
ALL_STREAMS, ALL_SIZE = 4096, 16 << 20
PLAIN_STREAMS, PLAIN_SIZE = 256, 64 << 10  # that are over and asked nothing: who missed the end comes soon
_STANDALONE = "_GET_stream"  # the SDK's name for the stream that belongs to no call


class Shelf:
    """The streams of all sessions, the one used least recently first."""

    def __init__(self):
        self.size = 0
        self.closed = False
        self._open, self._over, self._plain = (collections.OrderedDict() for _ in range(3))

    def used(self, stream) -> None:
        self._open.pop(stream, None)
        if not stream.gone:
            (self._open if not stream.over else self._over if stream.asked else self._plain)[stream] = None
        if len(self._plain) > PLAIN_STREAMS:
            self._plain.popitem(last=False)[0].drop()
        while self.size > ALL_SIZE or len(self._open) + len(self._over) > ALL_STREAMS:
            (self._plain or self._over or self._open).popitem(last=False)[0].drop()

    def close(self) -> None:
        """Ends all who follow a stream."""
        self.closed = True
        for stream in [*self._open, *self._over, *self._plain]:
            stream.wake()


class Stream:
    """What was said in answer to one request."""

    def __init__(self, shelf: Shelf, name: str):
        self.name, self.asked, self.over, self.gone = name, False, False, False
        self._shelf, self._events, self._first, self._size = shelf, collections.deque(), 0, 0
        self._changed = asyncio.Event()

    @property
    def end(self) -> int:
        return self._first + len(self._events)

    def put(self, message) -> int:
        """Takes a message, None for a mere place, and returns its place."""
        place = self.end
        size = _size(message.root.__dict__) if message is not None else 0
        self._events.append((message, size))
        self._grow(size)
        while len(self._events) > 1 and (len(self._events) > STREAM_EVENTS or self._size > STREAM_SIZE):
            _, dropped = self._events.popleft()
            self._first += 1
            self._grow(-dropped)
        if message is not None:
            said = hasattr(message.root, "method")
            self.over, self.asked = not said, self.asked or said and hasattr(message.root, "id")
        if self.over and not self.asked and self._size > PLAIN_SIZE:
            self.drop()
        self._shelf.used(self)
        self.wake()
        return place

    def _grow(self, by: int) -> None:
        self._size += by
        self._shelf.size += by

    def drop(self) -> None:
        self.gone = True
        self._grow(-self._size)
        self._events.clear()
        self.wake()

    def wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, at: int, say, live: bool) -> None:
        """Says all from a place on; live until the response. A gap ends it."""
        while not self.gone and self._first <= at:
            changed = self._changed
            if at < self.end:
                message, _ = self._events[at - self._first]
                at += 1
                if message is not None:
                    await say(message, at - 1)
            elif live and not self.over and not self._shelf.closed:
                await changed.wait()
            else:
                return


class Session:
    """An EventStore of the SDK for one session, whose streams are named by its requests."""

    def __init__(self, shelf: Shelf):
        self._shelf, self._streams, self._newest = shelf, {}, {}
        self._count = 0

    async def store_event(self, stream_id: str, message) -> str:
        number = self._newest.get(stream_id)
        stream = self._streams.get(number)
        if stream is None or stream.over or stream.gone:
            number, stream = self._begin(stream_id)
        return f"{number}.{stream.put(message)}"

    def _begin(self, name: str):
        self._count += 1
        for number in [n for n, s in self._streams.items() if s.gone]:
            if self._newest.get(self._streams[number].name) == number:
                del self._newest[self._streams[number].name]
            del self._streams[number]
        stream = Stream(self._shelf, name)
        self._streams[self._count], self._newest[name] = stream, self._count
        return self._count, stream

    async def replay_events_after(self, last_event_id: str, send_callback):
        from mcp.server.streamable_http import EventMessage

        try:
            number, at = (int(part) for part in last_event_id.split("."))
            stream = self._streams[number]
        except (ValueError, KeyError):
            return None

        async def say(message, place):
            await send_callback(EventMessage(message, f"{number}.{place}"))

        # The SDK goes on by itself only after a pause in which messages are lost, and
        # never ends; so a call's stream is followed here to its response.
        standalone = stream.name == _STANDALONE
        await stream.follow(at + 1, say, live=not standalone)
        return stream.name if standalone and not stream.gone else None


def attach(manager) -> Shelf:
    """Lets each session of a manager keep what its streams say.

    The SDK gives all sessions one store, and names streams by request ids, which
    sessions choose alike; so each session is given its own.
    """
    shelf = Shelf()
    if getattr(manager, "event_store", "none") is None and not manager.stateless:
        kind = type(manager)
        manager.__class__ = type(kind.__name__, (kind,), {"event_store": property(lambda _: Session(shelf))})
    return shelf


def _size(value) -> int:
    """About how many bytes a message has, without writing it out."""
    size, rest = 0, [value]
    while rest:
        part = rest.pop()
        size += 16
        if isinstance(part, str):
            size += len(part)
        elif isinstance(part, dict):
            rest.extend(part.keys())
            rest.extend(part.values())
        elif isinstance(part, (list, tuple)):
            rest.extend(part)
        elif hasattr(part, "__dict__"):
            rest.append(part.__dict__)
    return size
