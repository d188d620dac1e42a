"""The two tables, see schema.sql."""

import functools
import os

from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

INSERT_MESSAGE = """
    insert into messages (wamid, sender, name, kind, content, sent_at, raw)
    values (%s, %s, %s, %s, %s, to_timestamp(%s), %s)
    on conflict (wamid) do nothing"""
INSERT_ATTEMPT = "insert into attempts (wamid, webhook_id, status, error, milliseconds) values (%s, %s, %s, %s, %s)"
IS_TOLD = "select from attempts where wamid = %s and status between 200 and 299 limit 1"


@functools.cache
def pool():
    """Opened by the first task of a process: connections do not survive a fork."""
    # Each statement is a transaction; after five times psycopg prepares it by itself.
    return ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=20, kwargs={"autocommit": True}, open=True)


def insert_message(message, name):
    """Whether it is new."""
    content = message.get("text", {}).get("body")
    sent_at = int(message["timestamp"])
    values = message["id"], message["from"], name, message["type"], content, sent_at, Jsonb(message)
    with pool().connection() as connection:
        return connection.execute(INSERT_MESSAGE, values).rowcount == 1


def record_attempt(wamid, webhook_id, status, error, milliseconds):
    with pool().connection() as connection:
        connection.execute(INSERT_ATTEMPT, (wamid, webhook_id, status, error, milliseconds))


def is_told(wamid):
    with pool().connection() as connection:
        return connection.execute(IS_TOLD, (wamid,)).rowcount == 1
