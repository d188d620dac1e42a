"""The sender and the customer, `latchhook bench send` and `receive`: they know nothing of who is measured."""

import http.client
import json
import socket
import subprocess

DUPLICATES = 0.2
CONNECTIONS = 256


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Customer:
    def __init__(self, latchhook, port, secret):
        command = [latchhook, "bench", "receive", "--listen", f"127.0.0.1:{port}", "--secret", secret]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def ask(self, method, path):
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path)
            return connection.getresponse().read()
        except OSError as problem:
            raise RuntimeError(f"the customer is gone, with status {self.process.poll()}: {problem}") from problem
        finally:
            connection.close()

    def counts(self):
        return json.loads(self.ask("GET", "/counts"))

    def forget(self):
        self.ask("POST", "/reset")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Sender:
    """Sends in a process of its own; what it was told is there when it has ended."""

    runs = 0

    def __init__(self, latchhook, address, app_secret, events, rate=None):
        # No two runs share an id.
        Sender.runs += 1
        options = {
            "url": f"http://{address}/hooks/bench",
            "app-secret": app_secret,
            "events": events,
            "duplicates": DUPLICATES,
            "connections": CONNECTIONS,
            "seed": Sender.runs,
        }
        if rate:
            options["rate"] = rate
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        command = [latchhook, "bench", "send", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def ended(self):
        return self.process.poll() is not None

    def told(self):
        out, _ = self.process.communicate()
        if self.process.returncode:
            raise RuntimeError("the sender has given up")
        sent = json.loads(out)
        if sent["refused"]:
            raise RuntimeError(f"{sent['refused']} requests were refused")
        return sent
