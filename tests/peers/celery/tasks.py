"""The two tasks. Both may run twice: Celery's late acknowledgements ask for that."""

import customer
import tables
from bench_app import app


class NotDelivered(Exception):
    pass


# The unique key is the claim. A row that was there is a duplicate, unless this task had begun before and its process
# was killed: then the webhook may not have been enqueued, and the attempts tell whether it was sent.
@app.task(bind=True)
def store(self, message, name):
    wamid = message["id"]
    is_new = tables.insert_message(message, name)
    if is_new or (self.request.delivery_info["redelivered"] and not tables.is_told(wamid)):
        tell.delay(customer.webhook_id(wamid), wamid, customer.body_of(message, name))


@app.task(autoretry_for=(NotDelivered,), retry_backoff=1, retry_backoff_max=30, retry_jitter=True, max_retries=10)
def tell(id, wamid, body):
    status, error, milliseconds = customer.tell(id, body)
    tables.record_attempt(wamid, id, status, error, milliseconds)
    if status is None or not 200 <= status < 300:
        raise NotDelivered(status or error)
