"""Who is measured: how each is installed and set up, and how its tables are counted."""

import base64
import json
import os
import pathlib
import subprocess
import sys

from . import install

HERE = pathlib.Path(__file__).resolve().parent.parent
APP_SECRET = "the-app-secret-of-the-bench"
STOPPED_WITHIN = 60


class Peer:
    """One of the four, with tables as in schema.sql."""

    rows_twice = "select count(*) - count(distinct wamid) from messages"
    attempts = "select count(*) from attempts"

    def __init__(self, name, packages, recover=None):
        self.name = name
        self.packages = packages
        # What its documentation tells an operator to do about jobs whose worker was killed.
        self.recover = recover

    def install(self):
        self.environment = self.packages(self.name)

    def set_up(self, stores, customer_url):
        """Makes its tables. Gives the secret that it will sign with."""
        stores.add_database("peer")
        stores.run_file(HERE / "schema.sql")
        return "whsec_" + base64.b64encode(os.urandom(24)).decode()


class Latchhook:
    """latchhook itself: migrated already, and told of its source and endpoint like any."""

    name = "latchhook"
    recover = None
    rows_twice = "select count(*) - count(distinct (source_id, key)) from events"
    attempts = "select count(*) from attempts"

    def __init__(self, binary):
        self.binary = binary

    def install(self):
        key = base64.b64encode(os.urandom(32)).decode()
        loopback = {"LATCHHOOK_ALLOW_PRIVATE_ENDPOINTS": "127.0.0.0/8", "LATCHHOOK_LOG": "warn"}
        self.environment = {"LATCHHOOK": self.binary, "LATCHHOOK_MASTER_KEY": key, **loopback}

    def set_up(self, stores, customer_url):
        addresses = {"DATABASE_URL": stores.database_url, "REDIS_URL": stores.redis_url}
        environment = os.environ | self.environment | addresses

        def add(what, *arguments):
            command = [self.binary, "--json", what, "add", "--id", "bench", *arguments]
            return json.loads(subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE).stdout)

        add("account", "--name", "bench")
        owner = ["--account", "bench"]
        secrets = ["--app-secret", APP_SECRET, "--verify-token", "t"]
        add("source", *owner, "--provider", "whatsapp", "--name", "bench", *secrets)
        return add("endpoint", *owner, "--url", customer_url, "--events", "message_created")["secret"]


FOUR = [
    Peer("bullmq", install.npm),
    Peer(
        "graphile-worker",
        install.npm,
        recover="""select graphile_worker.force_unlock_workers(array(
            select distinct locked_by from graphile_worker._private_jobs where locked_by is not null))""",
    ),
    Peer("celery", install.pip),
    Peer("sidekiq", install.apt),
]


class Running:
    """A peer's processes, under its `start`."""

    def __init__(self, peer, stores, port, customer_url, customer_secret, log):
        environment = os.environ | peer.environment | {
            "DATABASE_URL": stores.database_url,
            "REDIS_URL": stores.redis_url,
            "LISTEN": f"127.0.0.1:{port}",
            "CUSTOMER_URL": customer_url,
            "CUSTOMER_SECRET": customer_secret,
            "APP_SECRET": APP_SECRET,
        }
        command = [sys.executable, str(HERE / peer.name / "start")]
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{peer.name} did not start: see {log.name}")
        ready = json.loads(line)
        self.pid = self.process.pid
        self.address = ready["address"]
        self.workers = ready["workers"]

    def stop(self):
        self.process.terminate()
        self.process.wait(STOPPED_WITHIN)
