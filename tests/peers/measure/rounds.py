"""The three rounds: flat out, at half of that, and with a worker killed in the middle."""

import os
import signal
import time

from . import peers, usage
from .bench import DUPLICATES, Customer, Sender, free_port

LOOK_EVERY = 0.1
# Longer than any peer waits before it takes a dead worker's jobs up again (Celery: 60 s, seen within another 100 s).
STANDS_STILL_AFTER = 180
# Of a round without a kill.
STUCK_AFTER = 60
FIRST_EVENTS = 500


class Bench:
    """One peer between the sender and the customer."""

    def __init__(self, latchhook, peer, stores, log):
        self.latchhook = latchhook
        self.peer = peer
        self.stores = stores
        port = free_port()
        url = f"http://127.0.0.1:{port}/hook"
        secret = peer.set_up(stores, url)
        self.customer = Customer(latchhook, port, secret)
        self.running = peers.Running(peer, stores, free_port(), url, secret, log)

    def close(self):
        self.running.stop()
        self.customer.close()

    def send(self, events, rate=None):
        self.customer.forget()
        return Sender(self.latchhook, self.running.address, peers.APP_SECRET, events, rate)

    def attempts(self):
        return self.stores.number(self.peer.attempts)

    def until_heard(self, distinct, patience):
        """When the customer had heard of all, or nothing more for so many seconds; and what he has heard."""
        last, moved_at = -1, time.time()
        while True:
            counts, now = self.customer.counts(), time.time()
            if counts["received"] != last:
                last, moved_at = counts["received"], now
            if counts["distinct"] >= distinct or now - moved_at > patience:
                return moved_at, counts
            time.sleep(LOOK_EVERY)

    def until_recorded(self, attempts):
        """When the peer's table had this many attempts."""
        deadline = time.time() + STUCK_AFTER
        while self.attempts() < attempts and time.time() < deadline:
            time.sleep(LOOK_EVERY)
        return time.time()

    def used(self):
        stores = self.stores
        pids = {"peer": self.running.pid, "redis": stores.redis_pid(), "postgres": stores.postgres_pid()}
        return {who: usage.cpu_seconds(pid) for who, pid in pids.items()}


def all_through(bench, events, rate=None):
    """Sends so many events. What was sent, when the customer had heard of all, and what he has heard."""
    sent = bench.send(events, rate).told()
    heard_at, counts = bench.until_heard(sent["distinct"], STUCK_AFTER)
    if counts["distinct"] < sent["distinct"]:
        raise RuntimeError(f"only {counts['distinct']} of {sent['distinct']} came through, and nobody was killed")
    return sent, heard_at, counts


def through(bench, events):
    """Flat out. The seconds from the first request to the last attempt recorded; what was sent."""
    before = bench.attempts()
    sent, heard_at, _ = all_through(bench, events)
    recorded_at = bench.until_recorded(before + sent["distinct"])
    return max(heard_at, recorded_at) - sent["first_at"] / 1e9, sent


def flat_out(bench, seconds):
    """Events a second, and what one costs: in the last of three runs. The first tells how many events the others need to
    last as long as they should; the second warms up compilers, caches and pools."""
    events, took = FIRST_EVENTS, through(bench, FIRST_EVENTS)[0]
    events = max(FIRST_EVENTS, int(events / took * seconds))
    took, _ = through(bench, events)
    events = max(FIRST_EVENTS, int(events / took * seconds))
    before = bench.used()
    with usage.Peak(bench.running.pid) as peak:
        took, sent = through(bench, events)
    after = bench.used()
    cost = {f"cpu_us_{who}": (after[who] - before[who]) / events * 1e6 for who in before}
    total = sum(cost.values())
    return {
        "events": events,
        "events_per_second": events / took,
        **cost,
        "cpu_us": total,
        "events_per_second_and_core": 1e6 / total,
        "memory_bytes": peak.bytes,
        "door_p99_us": sent["p99_us"],
    }


def at_half(bench, most, seconds):
    """From when an event was due to its webhook, at half of what the peer can do."""
    rate = most / 2
    _, _, counts = all_through(bench, int(rate * seconds), rate)
    return {"rate": rate, "p50_us": counts["p50_us"], "p99_us": counts["p99_us"]}


def with_a_kill(bench, most, seconds):
    """A worker, with the processes it made, dies by SIGKILL when the customer has heard of a third."""
    events = int(most * seconds)
    expected = events * (1 - DUPLICATES)
    sender = bench.send(events)
    while bench.customer.counts()["distinct"] < expected / 3 and not sender.ended():
        time.sleep(0.01)
    os.killpg(bench.running.workers[0], signal.SIGKILL)
    killed_at = time.time()
    sent = sender.told()
    whole_at, counts = bench.until_heard(sent["distinct"], STANDS_STILL_AFTER)
    missing = sent["distinct"] - counts["distinct"]
    lost = missing
    if missing and bench.peer.recover:
        bench.stores.query(bench.peer.recover)
        _, counts = bench.until_heard(sent["distinct"], STUCK_AFTER)
        lost = sent["distinct"] - counts["distinct"]
    return {
        "killed_events": events,
        "accepted": sent["distinct"],
        "asked_again": sent["again"],
        "lost": lost,
        "stuck": missing - lost,
        "whole_after_seconds": None if missing else whole_at - killed_at,
        "heard_twice": counts["doubled"],
        "changed": counts["changed"],
        "rows_twice": bench.stores.number(bench.peer.rows_twice),
    }
