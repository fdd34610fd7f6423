"""A gateway for callbacks: remembers what it is told, answers what it is asked."""

import http.server
import json
import threading

import temporal


class Gateway:
    def __init__(self, answer=None):
        self.calls = []
        self.asks = []  # names of questions of steps
        self.away = 0  # how many of the next calls are refused
        self.answer = answer or (lambda method, params: {"action": "accept", "content": {"response": "bob"}})
        gw = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gw.calls.append((self.path, body, self.headers.get("X-MCP-Gateway-Token")))
                if name := self.headers.get("X-Agentcloud-Ask"):
                    gw.asks.append(name)
                if gw.away > 0:
                    gw.away -= 1
                    return self.reply({"error": "away"}, 503)
                self.reply(gw.handle(self.path, body))

            def reply(self, doc, status=200):
                data = json.dumps(doc).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *args: None  # a killed host hangs up
        self.launch = {"url": f"http://127.0.0.1:{self._server.server_port}/gw", "token": "gateway-token-1"}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def handle(self, path, body):
        if path.endswith("/async-request"):
            _, workflow_id, run_id, _ = path.split("/by-run/")[1].join(["/", ""]).split("/")
            handle = temporal.server().client.get_workflow_handle(workflow_id, run_id=run_id)
            # At once: stock workers lose an answer as fast as this.
            temporal.server().do(handle.signal(body["signal_name"], self.answer(body["method"], body["params"])))
            return {"status": "received", "signal_name": body["signal_name"]}
        if path.endswith("/request"):
            return self.answer(body["method"], body["params"])
        return {"ok": True}

    def told(self, run_id, method="notifications/message"):
        return [b["params"] for p, b, _ in self.calls if p.endswith(f"/by-run/{run_id}/notify") and b["method"] == method]

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
