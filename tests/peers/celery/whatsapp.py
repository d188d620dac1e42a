"""What the job needs to know of WhatsApp's webhooks: how they are signed, and where their messages are."""

import hashlib
import hmac
import os

SECRET = os.environ["APP_SECRET"].encode()


def is_signed(body, header):
    expected = "sha256=" + hmac.digest(SECRET, body, hashlib.sha256).hex()
    return hmac.compare_digest(expected.encode(), header.encode())


def messages_in(payload):
    for entry in payload.get("entry", []):
        for change in entry.get("changes", []):
            value = change.get("value", {})
            contacts = value.get("contacts") or [{}]
            name = contacts[0].get("profile", {}).get("name")
            for message in value.get("messages", []):
                yield message, name
