"""The door: answers 200 only after the broker has each message of a signed body."""

import json

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from tasks import store
from whatsapp import is_signed, messages_in


def enqueue(found):
    for message, name in found:
        store.delay(message, name)


async def hook(request):
    body = await request.body()
    if not is_signed(body, request.headers.get("x-hub-signature-256", "")):
        return Response(status_code=401)
    try:
        found = list(messages_in(json.loads(body)))
    except ValueError:
        return Response(status_code=400)
    try:
        # Publishing waits for Redis, which waits for the disk: in a thread others go on meanwhile.
        await run_in_threadpool(enqueue, found)
    except store.OperationalError:
        return Response(status_code=503, headers={"retry-after": "1"})
    return Response()


app = Starlette(routes=[Route("/hooks/bench", hook, methods=["POST"])])
