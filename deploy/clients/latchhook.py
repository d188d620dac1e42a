"""Enqueues raw events at a latchhook, over HTTP. Python 3.9 or newer, and nothing else.

    client = Client("http://127.0.0.1:8080", "wa", os.environ["LATCHHOOK_TOKEN"])
    client.enqueue(b'{"object": "whatsapp_business_account"}')   # -> "5f0c…-17"
    client.enqueue_batch([body, body])                            # -> ["5f0c…-18", "5f0c…-19"]

Each call is sent under one Idempotency-Key, however often it has to be: what it brings is enqueued once.
On the command line it enqueues each line of stdin as one body:

    LATCHHOOK_TOKEN=… python3 latchhook.py http://127.0.0.1:8080 wa < bodies

All lines are one batch: at most 10,000 of them and 8 MiB.
"""

import base64
import email.utils
import http.client
import json
import os
import random
import socket
import sys
import threading
import time
import urllib.parse
import uuid

# What may be otherwise a moment later. Whatever else is refused stays refused.
PASSING = {408, 409, 429, 500, 502, 503, 504}


class NotEnqueued(Exception):
    """Nothing is known to be enqueued. `key` is what the request was sent under: sent again under it, it is never doubled."""

    def __init__(self, message, key):
        super().__init__(message)
        self.key = key


class LinesRefused(Exception):
    """Some lines of a batch were refused; all others are enqueued.

    `results` has an id for each body that was enqueued and None for each that was not; `errors` the refusals, each with
    `line` (from 1), `status` and `message`.
    """

    def __init__(self, results):
        errors = [result["error"] for result in results if "error" in result]
        super().__init__("; ".join(f"line {error['line']}: {error['message']}" for error in errors))
        self.results = [result.get("id") for result in results]
        self.errors = errors


class Client:
    def __init__(self, url, source, token, timeout=10, patience=60):
        """`timeout`: seconds for one try, after a connection is made for the answer too, however slowly it comes.
        `patience`: seconds after which there is no further try; 0: after the first.
        """
        url = urllib.parse.urlsplit(url)
        connections = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        self._connection = lambda: connections[url.scheme](url.hostname, url.port, timeout=timeout)
        self._path = f"{url.path.rstrip('/')}/v1/sources/{urllib.parse.quote(source, safe='')}/raw-events"
        self._token = token
        self._timeout = timeout
        self._patience = patience

    def enqueue(self, body, headers=None, key=None):
        """Enqueues one raw event: `body` is bytes or a str, taken as it is. Returns its id."""
        body = body.encode() if isinstance(body, str) else bytes(body)
        results = self._send(body, {**(headers or {}), "content-type": "application/octet-stream"}, key, 1)
        return results[0]["id"]

    def enqueue_batch(self, bodies, key=None):
        """Enqueues many: each is bytes or a str, taken as it is. Returns their ids, in order.

        At most 10,000 of them and 8 MiB at a time.
        """
        if not bodies:
            return []
        lines = "\n".join(json.dumps(_line(body)) for body in bodies)
        results = self._send(lines.encode(), {"content-type": "application/x-ndjson"}, key, len(bodies))
        if any("error" in result for result in results):
            raise LinesRefused(results)
        return [result["id"] for result in results]

    def _send(self, body, headers, key, count):
        """One request, until it is answered: under one key, so that it is enqueued once."""
        key = key or str(uuid.uuid4())
        headers = {**headers, "authorization": f"Bearer {self._token}", "idempotency-key": f'"{key}"'}
        ends, tries = time.monotonic() + self._patience, 0
        while True:
            status, answer, pause = self._try(body, headers)
            results = _results(answer, count)
            if status == 202 and results:
                return results
            if status not in PASSING and status not in (None, 202):
                if results:
                    raise LinesRefused(results)
                raise NotEnqueued(f"{status}: {_reason(answer)}", key)
            tries += 1
            pause = max(pause, random.uniform(0, min(10, 0.1 * 2**tries)))
            if time.monotonic() + pause >= ends:
                raise NotEnqueued(f"given up after {tries} tries: {status or 'no answer'}: {_reason(answer)}", key)
            time.sleep(pause)

    def _try(self, body, headers):
        """(status, JSON or text, seconds to wait); no status where there was no answer, or none that came to its end."""
        ends, connection = time.monotonic() + self._timeout, self._connection()
        try:
            connection.connect()
            # A socket's timeout is for each piece: an answer that drips would never end.
            hang_up = threading.Timer(max(0, ends - time.monotonic()), _hang_up, [connection.sock])
            hang_up.start()
            try:
                connection.request("POST", self._path, body, headers)
                with connection.getresponse() as response:
                    return response.status, _parsed(response.read()), _wait(response.headers.get("retry-after", ""))
            finally:
                hang_up.cancel()
        except (OSError, http.client.HTTPException) as error:
            return None, str(error) or repr(error), 0
        finally:
            connection.close()


def _hang_up(sock):
    """Ends what waits for it, below TLS. Whoever has closed it has what it waited for."""
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass


def _results(answer, count):
    """The results of an answer that is a latchhook's to so many bodies; whatever else stands between may answer too."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != count:
        return None
    return results if all(_is_result(result) for result in results) else None


def _is_result(result):
    if not isinstance(result, dict):
        return False
    error = result.get("error")
    return isinstance(result.get("id"), str) or isinstance(error, dict) and {"line", "message"} <= error.keys()


def _wait(retry_after):
    """The seconds that `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3)."""
    try:
        if retry_after.isdecimal():
            return int(retry_after)
        return max(0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0


def _line(body):
    if isinstance(body, str):
        return {"body": body}
    try:
        return {"body": bytes(body).decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _parsed(answer):
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return answer.decode(errors="replace")


def _reason(answer):
    return answer.get("error", answer) if isinstance(answer, dict) else answer


def main():
    url, source = sys.argv[1:3]
    text = sys.stdin.buffer.read()
    bodies = text.removesuffix(b"\n").split(b"\n") if text else []
    client = Client(url, source, os.environ["LATCHHOOK_TOKEN"])
    try:
        ids = client.enqueue_batch(bodies)
    except (NotEnqueued, LinesRefused) as error:
        for name in getattr(error, "results", []):
            print(name or "-")
        sys.exit(f"latchhook: {error}")
    for name in ids:
        print(name)


if __name__ == "__main__":
    main()
