"""Tells the customer, signed as Standard Webhooks say; over connections that are kept."""

import base64
import hashlib
import hmac
import json
import os
import time
from datetime import datetime, timezone

import urllib3

URL = urllib3.util.parse_url(os.environ["CUSTOMER_URL"])
SECRET = base64.b64decode(os.environ["CUSTOMER_SECRET"].removeprefix("whsec_"))

pool = urllib3.HTTPConnectionPool(URL.host, URL.port, maxsize=50, timeout=15, retries=False)


def webhook_id(wamid):
    """The same for the same message, however often it is sent."""
    return "msg_" + hashlib.sha256(wamid.encode()).hexdigest()[:32]


def body_of(message, name):
    sent_at = datetime.fromtimestamp(int(message["timestamp"]), timezone.utc).isoformat()
    data = {
        "source_id": "bench",
        "key": message["id"],
        "message": {
            "external_id": message["id"],
            "direction": "incoming",
            "kind": message["type"],
            "sender": {"phone": message["from"], "name": name},
            "content": message.get("text", {}).get("body"),
            "provider_timestamp": sent_at,
        },
        "raw": message,
    }
    return json.dumps({"type": "message_created", "timestamp": sent_at, "data": data})


def signed(id, body):
    timestamp = int(time.time())
    signature = hmac.digest(SECRET, f"{id}.{timestamp}.{body}".encode(), hashlib.sha256)
    return {
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": "v1," + base64.b64encode(signature).decode(),
    }


def tell(id, body):
    """What came of one attempt: status, error, milliseconds."""
    started = time.perf_counter()
    status = error = None
    try:
        status = pool.request("POST", URL.request_uri, body=body.encode(), headers=signed(id, body)).status
    except urllib3.exceptions.HTTPError as problem:
        error = str(problem)
    return status, error, round((time.perf_counter() - started) * 1000)
