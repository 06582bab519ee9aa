"""A web server on this machine that gives one file, and does what servers do wrong when it is told to."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FileServer(ThreadingHTTPServer):
    """What it does is set by its attributes; what it was asked is in ``asked``: paths and headers."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.headers = {"ETag": '"first"'}
        self.ranges = True
        self.status = 200
        self.kind = "application/octet-stream"
        self.cuts = []  # after how many bytes each answer in turn ends
        self.length = True
        self.redirects = {}  # from a path to an address, and headers
        self.asked = []
        self.before_sending = lambda: None
        self.pause_after = None  # after how many bytes it waits for ``resume``
        self.resume = threading.Event()

    def handle_error(self, request, client_address):
        """Keep quiet about clients that hang up."""

    def url(self, path="/toy.pth", host="127.0.0.1"):
        return f"http://{host}:{self.server_address[1]}{path}"


@contextmanager
def serving(content=b""):
    server = FileServer(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        """Keep quiet."""

    def do_GET(self):
        server = self.server
        server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if self.path in server.redirects:
            address, headers = server.redirects[self.path]
            self._head(302, {"Location": address, "Content-Length": "0", **headers})
            return
        if self.path == "/hangs-up":
            self.close_connection = True
            return
        if server.status != 200:
            self._head(server.status, {"Content-Length": "0", **server.headers})
            return
        server.before_sending()
        self._send(*self._chosen())

    def _chosen(self):
        """Return status, headers and content for the range that was asked for."""
        server, size = self.server, len(self.server.content)
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in (None, server.headers.get("ETag"), server.headers.get("Last-Modified"))
        if not (asked and server.ranges and same):
            return 200, {}, server.content
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= size:
            return 416, {"Content-Range": f"bytes */{size}"}, b""
        return 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}"}, server.content[start:]

    def _send(self, status, headers, content):
        server = self.server
        length = {"Content-Length": str(len(content))} if server.length else {}
        self._head(status, {"Content-Type": server.kind, **length, **server.headers, **headers})
        if server.pause_after is not None:
            self.wfile.write(content[: server.pause_after])
            server.resume.wait(60)
            return
        self.wfile.write(content[: server.cuts.pop(0)] if server.cuts else content)

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
