"""Runs a peer's processes as a supervisor does: what dies is started again two seconds later.

A peer's `start` calls `supervise`. It prints one line of JSON once the door answers, and stops everything on SIGTERM.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time

RESTART_AFTER = 2.0
READY_WITHIN = 60.0
# Longer than a peer takes to finish what it has in hand.
STOPPED_WITHIN = 20.0

stopping = threading.Event()


class Process:
    """One process of a peer, in a process group of its own, for as long as the peer runs."""

    def __init__(self, command, environment=None):
        self.command = command
        self.environment = os.environ | (environment or {})
        self.child = None
        self.start()
        threading.Thread(target=self.watch, daemon=True).start()

    def start(self):
        self.child = subprocess.Popen(
            self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True
        )

    def watch(self):
        while not stopping.is_set():
            self.child.wait()
            if not stopping.wait(RESTART_AFTER):
                self.start()

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def listens(address):
    try:
        socket.create_connection(address, 0.2).close()
        return True
    except OSError:
        return False


def supervise(door, workers):
    """Runs the door and the workers, each a command or a command with variables, until SIGTERM."""
    host, port = os.environ["LISTEN"].rsplit(":", 1)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    workers = [Process(*worker) for worker in workers]
    processes = [Process(*door), *workers]
    deadline = time.monotonic() + READY_WITHIN
    while not listens((host, int(port))) and not stopping.wait(0.05):
        if time.monotonic() > deadline:
            stopping.set()
    if not stopping.is_set():
        print(json.dumps({"address": os.environ["LISTEN"], "workers": [w.child.pid for w in workers]}), flush=True)
    stopping.wait()
    stops = [threading.Thread(target=process.stop) for process in processes]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()
