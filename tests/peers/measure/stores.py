"""A private Redis and Postgres that keep what they acknowledge, from `latchhook dev exec`; empty, for one peer."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import usage


class Stores:
    def __init__(self, process, database_url, redis_url):
        self.process = process
        self.database_url = database_url
        self.redis_url = redis_url

    def add_database(self, name):
        self.query(f"create database {name}")
        self.database_url = self.database_url.rsplit("/", 1)[0] + "/" + name

    def run_file(self, path):
        self.psql("--file", str(path))

    def query(self, sql):
        """The rows of one statement, each a list of texts."""
        answer = self.psql("--no-align", "--tuples-only", "--command", sql)
        return [line.split("|") for line in answer.splitlines()]

    def number(self, sql):
        return int(self.query(sql)[0][0])

    def psql(self, *arguments):
        command = [psql(), "--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", self.database_url, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    def pid_of(self, *names):
        """Of the server with one of these names."""
        children = usage.children_of(self.process.pid)
        return next(pid for pid in children if usage.name(pid) in names)

    def redis_pid(self):
        return self.pid_of("redis-server", "valkey-server")

    def postgres_pid(self):
        return self.pid_of("postgres")


def psql():
    tools = os.environ.get("LATCHHOOK_TOOLS", ".tools")
    places = [*pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"), pathlib.Path(tools, "bin/psql")]
    return shutil.which("psql") or str(next(place for place in places if place.exists()))


@contextlib.contextmanager
def stores(latchhook):
    with tempfile.TemporaryDirectory(prefix="peers-") as directory:
        # Postgres may have to run as another user than this one.
        os.chmod(directory, 0o711)
        # Tells the addresses, and waits for the end of its input, which comes when this process ends, however it does.
        tell = ["sh", "-c", 'echo "$DATABASE_URL"; echo "$REDIS_URL"; cat']
        command = [latchhook, "dev", "exec", "--data-dir", f"{directory}/data", "--", *tell]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            database_url, redis_url = (process.stdout.readline().strip() for _ in range(2))
            if not redis_url:
                raise SystemExit("latchhook dev exec has started no servers")
            yield Stores(process, database_url, redis_url)
        finally:
            process.stdin.close()
            process.wait()
