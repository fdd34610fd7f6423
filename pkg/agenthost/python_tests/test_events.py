"""What streams said is kept for a gateway that goes on with one."""

import asyncio
import http.client
import json
import types
import unittest

import harness
from agentcloud_host import events

ASKS = '''from mcp.server.fastmcp import Context, FastMCP
from pydantic import BaseModel
mcp = FastMCP("asks")
class Sure(BaseModel):
    sure: bool
@mcp.tool()
async def ask(what: str, ctx: Context) -> str:
    answer = await ctx.elicit(message=f"{what}?", schema=Sure)
    return f"{what}: {answer.data.sure}"
'''
HELLO = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
    "protocolVersion": "2025-11-25", "capabilities": {"elicitation": {}}, "clientInfo": {"name": "t", "version": "1"}}}


class Client:
    """One session, by hand."""

    def __init__(self, url):
        self.address = url.removeprefix("http://")
        self.session = None
        first = self.send("POST", HELLO)
        self.session = first.getheader("mcp-session-id")
        first.read()
        self.send("POST", {"jsonrpc": "2.0", "method": "notifications/initialized"}).read()

    def send(self, method, message=None, **headers):
        connection = http.client.HTTPConnection(self.address, timeout=20)
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
        if self.session:
            headers |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": "2025-11-25"}
        connection.request(method, "/mcp", json.dumps(message) if message else None, headers)
        response = connection.getresponse()
        response.connection = connection
        return response

    def call(self, what, request_id=1):
        return self.send("POST", {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": {"name": "ask", "arguments": {"what": what}}})

    def answer(self, question, sure=True):
        self.send("POST", {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"sure": sure}}}).read()


def cut(response):
    """Breaks the connection."""
    response.close()
    response.connection.close()


def read(response):
    """The next event with a message: its id and the message."""
    last = None
    for raw in iter(response.readline, b""):
        line = raw.decode().rstrip("\r\n")
        if line.startswith("id: "):
            last = line[4:]
        if line.startswith("data: ") and line[6:].strip():
            return last, json.loads(line[6:])
    return None, None


class Resuming(unittest.TestCase):
    def setUp(self):
        self.host = self.enterContext(harness.Host("server", None, files={"main.py": ASKS}))
        self.host.ready()

    def test_a_broken_call_goes_on(self):
        """Two sessions with the same ids of requests: each gets its own."""
        clients = {name: Client(self.host.url) for name in ("one", "two")}
        asked = {}
        for name, client in clients.items():
            stream = client.call(name)
            asked[name] = read(stream)
            self.assertEqual(asked[name][1]["params"]["message"], f"{name}?")
            cut(stream)
        for name, client in clients.items():
            rest = client.send("GET", **{"Last-Event-ID": asked[name][0]})
            client.answer(asked[name][1])
            place, result = read(rest)
            self.assertEqual(result["result"]["content"][0]["text"], f"{name}: True")
            self.assertEqual(rest.read().strip(), b"", "the stream goes on after the response")
            again = client.send("GET", **{"Last-Event-ID": asked[name][0]})
            self.assertEqual(read(again), (place, result))

    def test_what_came_meanwhile_is_not_lost(self):
        client = Client(self.host.url)
        stream = client.call("gone")
        place, question = read(stream)
        cut(stream)
        client.answer(question, sure=False)
        _, result = read(client.send("GET", **{"Last-Event-ID": place}))
        self.assertEqual(result["result"]["content"][0]["text"], "gone: False")

    def test_an_event_that_never_was(self):
        client = Client(self.host.url)
        for last in ("9.9", "x", "", "1.2.3"):
            self.assertEqual(client.send("GET", **{"Last-Event-ID": last or "."}).read(), b"", last)


def message(text="", **root):
    return types.SimpleNamespace(root=types.SimpleNamespace(text=text, **root))


def said(session, last):
    """What is replayed after an event, without waiting."""
    heard = []

    async def hear(event):
        heard.append(event.message.root.text)

    async def replay():
        try:
            await asyncio.wait_for(session.replay_events_after(last, hear), 0.05)
        except asyncio.TimeoutError:
            heard.append("…")

    asyncio.run(replay())
    return heard


def put(session, stream, *messages):
    async def all_of():
        return [await session.store_event(stream, m) for m in messages]

    return asyncio.run(all_of())


class Bounds(unittest.TestCase):
    def test_one_stream(self):
        session = events.Session(events.Shelf())
        ids = put(session, "1", None, *(message(str(i), method="m") for i in range(events.STREAM_EVENTS + 10)))
        self.assertEqual(said(session, ids[0]), [], "a gap is passed over")
        self.assertEqual(said(session, ids[-2]), [str(events.STREAM_EVENTS + 9), "…"])
        put(session, "1", message("end"))
        self.assertEqual(said(session, ids[-1]), ["end"])

    def test_large_events(self):
        shelf = events.Shelf()
        session = events.Session(shelf)
        large = "x" * events.STREAM_SIZE
        ids = put(session, "1", message("a", method="m"), message(large, method="m", id=1), message(large))
        self.assertEqual(said(session, ids[0]), [], "a gap is passed over")
        self.assertEqual(said(session, ids[1]), [large])
        self.assertLess(shelf.size, 1.1 * events.STREAM_SIZE)

    def test_large_answers_without_a_question(self):
        """Nobody would come for them, and memory that is not reused is slow."""
        shelf = events.Shelf()
        session = events.Session(shelf)
        ids = put(session, "1", None, message("x" * events.STREAM_SIZE))
        self.assertEqual((said(session, ids[0]), shelf.size), ([], 0))

    def test_answers_without_a_question(self):
        shelf = events.Shelf()
        session = events.Session(shelf)
        ids = [put(session, "1", None, message("end")) for _ in range(events.PLAIN_STREAMS + 1)]
        self.assertEqual([said(session, ids[i][0]) for i in (0, 1, -1)], [[], ["end"], ["end"]])
        self.assertLess(len(session._streams), events.PLAIN_STREAMS + 3)

    def test_all_streams(self):
        """Streams that are over make room first."""
        shelf = events.Shelf()
        session = events.Session(shelf)
        waits = put(session, "waits", None, message("question", method="m"))
        text = "x" * (events.STREAM_SIZE // 2)
        for i in range(3 * events.ALL_SIZE // events.STREAM_SIZE):
            over = put(session, f"over {i}", message("question", method="m", id=1), message(text))
        self.assertLessEqual(shelf.size, events.ALL_SIZE)
        self.assertEqual(said(session, waits[0]), ["question", "…"])
        self.assertEqual(said(session, over[0]), [text])
        self.assertLess(len(session._streams), 2 * events.ALL_SIZE // events.STREAM_SIZE + 2)

    def test_a_name_that_comes_again(self):
        session = events.Session(events.Shelf())
        first = put(session, "1", None, message("first"))
        second = put(session, "1", None, message("second"))
        self.assertEqual([said(session, first[0]), said(session, second[0])], [["first"], ["second"]])

    def test_a_server_with_its_own_store(self):
        manager = types.SimpleNamespace(event_store="its own", stateless=False)
        events.attach(manager)
        self.assertEqual(manager.event_store, "its own")


if __name__ == "__main__":
    unittest.main()
