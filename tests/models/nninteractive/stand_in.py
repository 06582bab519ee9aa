"""An nnInteractive server for tests: the protocol to the letter, and region growing in place of a network.

Written from the protocol's description, with its own reading and writing of arrays, so that a mistake in the package's
does not cancel out. Nothing but the standard library, numpy, scipy and blosc2; 127.0.0.1 only, on any free port.
"""

import contextlib
import json
import math
import socket
import struct
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import blosc2
import numpy as np
from tests.models.nninteractive.finder import Finder

CAPABILITIES = {
    "supported_interactions": {"points": True, "bbox2d": True, "bbox3d": False, "scribble": True, "lasso": True},
    "channel_mapping": {"prev_seg": 0, "bbox2d": [1, 2], "lasso": [1, 2], "points": [3, 4], "scribble": [5, 6]},
    "num_interaction_channels": 7,
    "supports_initial_label": True,
    "supports_zero_shot_label_refinement": True,
    "preferred_scribble_thickness": [2, 2, 2],
    "interaction_decay": 0.98,
    "inference_session_version": "2.6.0",
    "patch_size": [192, 192, 192],
    "license": "CC BY-NC-SA 4.0",
    "supports_undo": True,
    "do_autozoom": True,
}
FLAGS = {"include_interaction", "run_prediction", "override_capability_checks"}


class RefusedError(Exception):
    def __init__(self, status, detail, **headers):
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def pack(array):
    array = np.ascontiguousarray(array)
    name, raw = array.dtype.name.encode(), array.tobytes()
    chunk = blosc2.compress2(
        raw, typesize=array.itemsize, codec=blosc2.Codec.ZSTD, clevel=3, filters=[blosc2.Filter.NOFILTER]
    )
    head = struct.pack("<4sBBBB", b"NNIA", 1, 1, array.ndim, len(name)) + name
    return head + struct.pack(f"<{array.ndim}qIQQ", *array.shape, 1, len(raw), len(chunk)) + chunk


def unpack(body):
    magic, version, codec, ndim, length = struct.unpack_from("<4sBBBB", body)
    need(magic == b"NNIA" and version == 1 and codec in (1, 2), "no NNIA array")
    at = 8 + length
    dtype = np.dtype(body[8:at].decode("ascii"))
    *shape, count = struct.unpack_from(f"<{ndim}qI", body, at)
    at += 8 * ndim + 4
    parts = []
    for _ in range(count):
        plain, packed = struct.unpack_from("<QQ", body, at)
        need(0 < plain <= 1 << 30, "bad chunk")
        parts.append(blosc2.decompress2(body[at + 16 : at + 16 + packed]))
        need(len(parts[-1]) == plain, "bad chunk")
        at += 16 + packed
    raw = b"".join(parts)
    need(at == len(body) and len(raw) == math.prod(shape) * dtype.itemsize, "sizes do not fit")
    return np.frombuffer(raw, dtype).reshape(shape)


def need(condition, detail):
    if not condition:
        raise RefusedError(400, detail)


class Seat:
    """What one lease holds."""

    def __init__(self):
        self.lock = threading.Lock()
        self.lived = self.worked = time.monotonic()
        self.image = self.buffer = self.finder = self.before = None
        self.queued = False

    def set_image(self, image, patch):
        need(image.ndim == 4 and image.shape[0] == 1 and image.dtype.kind in "uif", f"image of {image.shape}")
        self.image, self.finder = image, Finder(image[0], patch)
        self.buffer, self.before, self.queued = None, None, False
        return {"original_image_shape": list(image.shape)}

    def set_target_buffer(self, shape, dtype):
        whole = isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
        need(whole, "shape must be three positive integers")
        need(np.dtype(dtype).kind in "bui", f"target buffer of {dtype}")
        self.buffer = np.zeros(shape, dtype)
        return {}

    def reset(self):
        need(self.image is not None, "no image")
        self.finder.reset()
        self.buffer[...] = 0
        self.before, self.queued = None, False
        return {}

    def begin(self):
        need(self.image is not None and self.buffer is not None, "no image or no target buffer")
        need(self.image.any(), "Input image is entirely zero; cannot determine normalization statistics.")
        self.before = self.buffer.copy()
        self.queued = True

    def predict(self):
        if not self.queued:
            return {"ran_prediction": False, "bbox": None}, b""
        self.queued = False
        return self._changed(self.finder.find(self.buffer != 0).astype(self.buffer.dtype))

    def undo(self):
        if self.before is None:
            return {"ran_prediction": False, "bbox": None}, b""
        before, self.before = self.before, None
        self.finder.reset()
        return self._changed(before)

    def _changed(self, now):
        where = np.argwhere(now != self.buffer)
        self.buffer[...] = now
        if not len(where):
            return {"ran_prediction": True, "bbox": None}, b""
        # Not the tight block, as a network's patches are none either.
        block = [
            [max(0, int(a) - 2), min(n, int(b) + 3)]
            for a, b, n in zip(where.min(0), where.max(0), now.shape, strict=True)
        ]
        part = now[tuple(slice(*side) for side in block)]
        return {"ran_prediction": True, "bbox": block, "dtype": str(part.dtype), "shape": list(part.shape)}, pack(part)


class StandIn(ThreadingHTTPServer):
    """``url`` is where it listens; ``asked`` what it was asked: (path, message), without heartbeats.

    ``answers`` maps a path to a function that is called instead of what the server would do, with the handler.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, *, key="", places=1, liveness_s=60.0, idle_s=600.0, **capabilities):
        super().__init__(("127.0.0.1", 0), Handler)
        self.key, self.places, self.liveness_s, self.idle_s = key, places, liveness_s, idle_s
        kinds = CAPABILITIES["supported_interactions"] | capabilities.pop("kinds", {})
        self.capabilities = CAPABILITIES | {"supported_interactions": kinds} | capabilities
        self.seats, self.asked, self.answers, self.beats, self.connections = {}, [], {}, 0, []
        self.guard = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        for connection in self.connections:  # those that clients keep open would be served on
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def paths(self):
        return [path for path, _ in self.asked]

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""

    def sweep(self):
        now = time.monotonic()
        for token, seat in list(self.seats.items()):
            if now - seat.lived > self.liveness_s or now - seat.worked > self.idle_s:
                del self.seats[token]

    def claim(self):
        with self.guard:
            self.sweep()
            if len(self.seats) >= self.places:
                raise RefusedError(503, "server is at capacity", **{"Retry-After": "10"})
            token = uuid.uuid4().hex
            self.seats[token] = Seat()
        times = {"idle_timeout_seconds": self.idle_s, "liveness_timeout_seconds": self.liveness_s}
        return {"lease_token": token, **times, "max_sessions": self.places}

    def seat(self, token, *, works):
        with self.guard:
            self.sweep()
            if token not in self.seats:
                raise RefusedError(410, "lease expired or unknown" if token else "lease token missing")
            seat = self.seats[token]
            seat.lived = time.monotonic()
            seat.worked = seat.lived if works else seat.worked
            return seat

    def expire(self):
        """Take all places back."""
        self.seats.clear()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 20

    def setup(self):
        super().setup()
        self.server.connections.append(self.connection)

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.handle_one(b"")

    def do_POST(self):
        self.handle_one(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def handle_one(self, body):
        try:
            if self.path in self.server.answers:
                return self.server.answers[self.path](self)
            if self.server.key and self.path != "/healthz":
                said = self.headers.get("Authorization")
                if said != f"Bearer {self.server.key}":
                    raise RefusedError(401, "Invalid bearer token" if said else "Missing bearer token")
            self.reply(self.dispatch(body))
        except RefusedError as error:
            self.reply_with(error.status, json.dumps({"detail": error.detail}).encode(), **error.headers)

    def reply(self, answer):
        if isinstance(answer, dict):
            return self.reply_with(200, json.dumps(answer).encode())
        meta, body = answer
        kind = {"Content-Type": "application/octet-stream", "X-Meta": json.dumps(meta, separators=(",", ":"))}
        return self.reply_with(200, body, **kind)

    def reply_with(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def dispatch(self, body):
        server, path, token = self.server, self.path, self.headers.get("X-Lease-Token")
        if path == "/heartbeat":
            server.beats += 1
        else:
            server.asked.append((path, self.message(body) if self.command == "POST" else None))
        plain = {
            ("GET", "/healthz"): lambda: {"ok": True},
            ("GET", "/capabilities"): lambda: server.capabilities,
            ("POST", "/claim"): server.claim,
            ("POST", "/release"): lambda: {"released": bool(server.seats.pop(token, None)) or True},
        }
        if (self.command, path) in plain:
            return plain[self.command, path]()
        seat = server.seat(token, works=path not in ("/heartbeat", "/lease_status"))
        if path in ("/heartbeat", "/lease_status"):
            left = server.idle_s - (time.monotonic() - seat.worked)
            return {"remaining_seconds": left, "idle_timeout_seconds": server.idle_s}
        if self.command != "POST" or path not in WORK:
            raise RefusedError(404, "Not Found")
        with seat.lock:
            return WORK[path](self, seat, body)

    def message(self, body):
        """What was asked, as JSON: in a header beside a binary body, else the body."""
        kind = self.headers.get("Content-Type")
        if not body and kind is None:
            return None
        need(kind in ("application/json", "application/octet-stream"), f"body of type {kind}")
        text = body if kind == "application/json" else self.headers.get("X-Meta", "")
        try:
            found = json.loads(text)
        except ValueError:
            raise RefusedError(400, "Bad X-Meta or body") from None
        need(isinstance(found, dict), "no JSON object")
        return found


def set_image(handler, seat, body):
    need(isinstance(handler.message(body).get("image_properties"), dict), "no image_properties")
    return seat.set_image(unpack(body), handler.server.capabilities["patch_size"])


def add(handler, seat, body):
    """Take any prompt: check it as the protocol says, queue it, and look if that is asked for."""
    path, message = handler.path, handler.message(body)
    kinds = handler.server.capabilities["supported_interactions"]
    seat.begin()
    initial = path == "/add_initial_seg_interaction"
    flags = FLAGS - {"include_interaction"} if initial else FLAGS
    need(flags <= set(message) and all(type(message[flag]) is bool for flag in flags), f"flags of {sorted(message)}")
    shape, positive = seat.buffer.shape, message.get("include_interaction")
    if initial:
        mask = unpack(body)
        need(mask.shape == shape and set(np.unique(mask)) <= {0, 1}, f"initial segmentation of {mask.shape}")
        seat.finder.reset()
        seat.buffer[...] = mask
        seat.finder.start(mask)
    elif path == "/add_point_interaction":
        need(kinds["points"], "points not supported")
        voxel = [round(n) for n in message["coordinates"]]
        need(len(voxel) == 3 and all(0 <= n < size for n, size in zip(voxel, shape, strict=True)), f"point at {voxel}")
        seat.finder.mark(tuple(voxel), positive=positive)
    elif path == "/add_bbox_interaction":
        add_box(seat, kinds, message["bbox_coords"], positive=positive)
    else:
        add_block(seat, kinds, path.split("_")[1], message, unpack(body), positive=positive)
    return seat.predict() if message["run_prediction"] else ({"ran_prediction": False, "bbox": None}, b"")


def add_box(seat, kinds, sides, *, positive):
    sizes = [b - a for a, b in sides]
    need(len(sides) == 3 and all(size > 0 for size in sizes), f"box {sides} has an empty side")
    need(kinds["bbox3d"] or 1 in sizes, f"box {sides} is 3D, which the model does not support")
    seat.finder.box([[max(0, round(a)), min(n, round(b))] for (a, b), n in zip(sides, seat.buffer.shape, strict=True)])
    need(positive is True, "negative boxes are not for this stand-in")


def add_block(seat, kinds, kind, message, mask, *, positive):
    shape = seat.buffer.shape
    need(kinds[kind], f"{kind} not supported")
    sides = message["interaction_bbox"] or [[0, n] for n in shape]
    inside = len(sides) == 3 and all(0 <= a < b <= n for (a, b), n in zip(sides, shape, strict=True))
    need(inside and list(mask.shape) == [b - a for a, b in sides], f"mask of {mask.shape} for {sides}")
    need(mask.dtype == np.uint8 and mask.any() and mask.max() == 1, "a mask of 0 and 1")
    whole = np.zeros(shape, np.bool_)
    whole[tuple(slice(*side) for side in sides)] = mask
    seat.finder.mark(whole, positive=positive, region=kind == "lasso")


WORK = {
    "/set_image": set_image,
    "/set_target_buffer": lambda h, seat, body: seat.set_target_buffer(**h.message(body)),
    "/set_do_autozoom": lambda h, seat, body: need(type(h.message(body)["do_autozoom"]) is bool, "no boolean") or {},
    "/reset_interactions": lambda h, seat, body: seat.reset(),
    "/undo": lambda h, seat, body: seat.undo(),
    "/predict": lambda h, seat, body: seat.predict(),
    "/add_point_interaction": add,
    "/add_bbox_interaction": add,
    "/add_scribble_interaction": add,
    "/add_lasso_interaction": add,
    "/add_initial_seg_interaction": add,
}
