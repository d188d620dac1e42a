"""Enqueues raw events at a latchhook, over HTTP. Python 3.9 or newer, and nothing else.

    client = Client("http://127.0.0.1:8080", "wa", os.environ["LATCHHOOK_TOKEN"])
    client.enqueue(b'{"object": "whatsapp_business_account"}')   # -> "5f0c…-17"
    client.enqueue_batch([body, body])                            # -> ["5f0c…-18", "5f0c…-19"]

Each call is sent under one Idempotency-Key, however often it has to be: what it brings is enqueued once.
On the command line it enqueues each line of stdin as one body:

    LATCHHOOK_TOKEN=… python3 latchhook.py http://127.0.0.1:8080 wa < bodies
"""

import base64
import http.client
import json
import os
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
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


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes to nobody but whom it was meant for."""

    def redirect_request(self, *_):
        return None


class Client:
    def __init__(self, url, source, token, timeout=10, patience=60):
        """`timeout`: seconds for one try. `patience`: seconds after which a call gives up; 0: after its first try."""
        self._url = f"{url.rstrip('/')}/v1/sources/{urllib.parse.quote(source, safe='')}/raw-events"
        self._token = token
        self._timeout = timeout
        self._patience = patience
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)

    def enqueue(self, body, headers=None, key=None):
        """Enqueues one raw event: `body` is bytes or a str, taken as it is. Returns its id."""
        body = body.encode() if isinstance(body, str) else bytes(body)
        results = self._send(body, {**(headers or {}), "content-type": "application/octet-stream"}, key)
        return results[0]["id"]

    def enqueue_batch(self, bodies, key=None):
        """Enqueues many: each is bytes or a str, taken as it is. Returns their ids, in order.

        At most 10,000 of them and 8 MiB at a time.
        """
        if not bodies:
            return []
        lines = "\n".join(json.dumps(_line(body)) for body in bodies)
        results = self._send(lines.encode(), {"content-type": "application/x-ndjson"}, key)
        if any("error" in result for result in results):
            raise LinesRefused(results)
        return [result["id"] for result in results]

    def _send(self, body, headers, key):
        """One request, until it is answered: under one key, so that it is enqueued once."""
        key = key or str(uuid.uuid4())
        headers = {**headers, "authorization": f"Bearer {self._token}", "idempotency-key": f'"{key}"'}
        ends, tries = time.monotonic() + self._patience, 0
        while True:
            request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
            status, answer, pause = self._try(request)
            if status == 202:
                return answer["results"]
            if status is not None and status not in PASSING:
                if isinstance(answer, dict) and "results" in answer:
                    raise LinesRefused(answer["results"])
                raise NotEnqueued(f"{status}: {_reason(answer)}", key)
            tries += 1
            pause = max(pause, random.uniform(0, min(10, 0.1 * 2**tries)))
            if time.monotonic() + pause >= ends:
                raise NotEnqueued(f"given up after {tries} tries: {status or 'no answer'}: {_reason(answer)}", key)
            time.sleep(pause)

    def _try(self, request):
        """(status, JSON or text, seconds to wait); no status where there was no answer."""
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, json.load(response), 0
        except urllib.error.HTTPError as error:
            with error:
                pause = error.headers.get("retry-after", "")
                return error.code, _parsed(error), int(pause) if pause.isdigit() else 0
        except (OSError, ValueError, http.client.HTTPException) as error:
            return None, str(error) or repr(error), 0


def _line(body):
    if isinstance(body, str):
        return {"body": body}
    try:
        return {"body": bytes(body).decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _parsed(response):
    try:
        return json.load(response)
    except (OSError, ValueError):
        return None


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
    print("\n".join(ids))


if __name__ == "__main__":
    main()
