"""Receives webhooks: verifies each, records it once, answers. Python 3.9 or newer, and nothing else.

    WEBHOOK_SECRET=whsec_… python3 receiver.py
"""

import base64
import hashlib
import hmac
import json
import os
import sqlite3
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
DATABASE = os.environ.get("DATABASE", "webhooks.db")
TOLERANCE = 5 * 60  # seconds
LARGEST = 72 << 20  # bytes

TABLES = """
    CREATE TABLE IF NOT EXISTS webhooks (id TEXT PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS inbox (type TEXT, data TEXT);
"""


def verify(headers, body):
    """Gives the webhook-id of a request that we believe, else None."""
    named = [headers.get_all(f"webhook-{name}", []) for name in ("id", "timestamp", "signature")]
    if any(len(values) != 1 for values in named):
        return None
    webhook_id, timestamp, signatures = (values[0] for values in named)
    try:
        if abs(time.time() - int(timestamp)) > TOLERANCE:
            return None
    except ValueError:
        return None
    # The bytes as they came: JSON that was parsed and written again has others.
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(SECRET, signed, hashlib.sha256))
    # There are several while a secret is rotated; one that fits is enough.
    genuine = [hmac.compare_digest(expected, given.encode()) for given in signatures.split(" ")]
    return webhook_id if any(genuine) else None


def record(webhook_id, body):
    """Says whether it is new. The id and what it changes are committed together, or neither is."""
    event = json.loads(body)
    with closing(sqlite3.connect(DATABASE, timeout=10)) as database, database:
        seen = database.execute("INSERT INTO webhooks VALUES (?) ON CONFLICT DO NOTHING", [webhook_id])
        if seen.rowcount == 0:
            return False
        # Here goes your own change. What takes long is done later, from what is recorded here.
        database.execute("INSERT INTO inbox VALUES (?, ?)", [event["type"], json.dumps(event["data"])])
        return True


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 15

    def do_POST(self):
        try:
            length = int(self.headers["content-length"])
        except (TypeError, ValueError):
            length = -1
        if not 0 <= length <= LARGEST:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)
        webhook_id = verify(self.headers, body)
        if webhook_id is None:
            return self.answer(401)
        try:
            is_new = record(webhook_id, body)
        except sqlite3.Error as error:
            print(f"not recorded {webhook_id}: {error}", flush=True)
            return self.answer(503)
        print(f"recorded {webhook_id}" if is_new else f"had {webhook_id} already", flush=True)
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status == 503:
            self.send_header("retry-after", "5")
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    if len(SECRET) < 24:
        raise SystemExit("WEBHOOK_SECRET is not what `endpoint add` printed")
    with closing(sqlite3.connect(DATABASE)) as opened:
        opened.executescript(TABLES)
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "3000"))), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
