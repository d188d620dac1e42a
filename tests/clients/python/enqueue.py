"""Enqueues the lines of standard input as raw events of one source, all or none, and prints their names.

    REDIS_URL=redis://127.0.0.1:6379 python3 enqueue.py orders enqueue.v1.lua < bodies

Python's standard library and nothing else.
"""
import os, socket, sys, time, urllib.parse


def connect(url):
    url = urllib.parse.urlsplit(url)
    if url.scheme == "redis+unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(urllib.parse.unquote(url.path))
    else:
        connection = socket.create_connection((url.hostname, url.port or 6379), timeout=10)
    return connection.makefile("rwb")


def call(redis, *words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    redis.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
    redis.flush()
    return answer(redis)


def answer(redis):
    line = redis.readline()
    if not line.endswith(b"\r\n"):
        raise ConnectionError("no answer: the raw events may be enqueued or not; enqueue them again")
    kind, rest = line[:1], line[1:-2]
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b"*":
        return [answer(redis) for _ in range(int(rest))]
    if kind == b"$":
        return redis.read(int(rest) + 2)[:-2].decode()
    return rest.decode()


def enqueue(redis, script, prefix, source, bodies):
    keys = [prefix + key for key in (":inbound:active", ":inbound:data", ":inbound:incarnation", ":inbound:incarnations", ":sources")]
    now = int(time.time() * 1000)
    raw_events = [word for body in bodies for word in (source, now, '[["content-type","application/json"]]', body)]
    return call(redis, "EVAL", script, len(keys), *keys, 1, *raw_events)


if __name__ == "__main__":
    source, script = sys.argv[1], open(sys.argv[2]).read()
    redis = connect(os.environ["REDIS_URL"])
    prefix = os.environ.get("LATCHHOOK_PREFIX", "latchhook")
    try:
        print("\n".join(enqueue(redis, script, prefix, source, sys.stdin.buffer.read().splitlines())))
    except (OSError, RuntimeError) as error:
        sys.exit(f"not enqueued: {error}")
