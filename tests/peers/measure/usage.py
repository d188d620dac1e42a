"""What processes and all their children use, as /proc tells it."""

import os
import threading

TICK = 1 / os.sysconf("SC_CLK_TCK")


def read(pid, file):
    try:
        with open(f"/proc/{pid}/{file}") as opened:
            return opened.read()
    except OSError:
        return ""


def stat(pid):
    """Its fields from the third on; the second, a name in brackets, may hold blanks and brackets."""
    return read(pid, "stat").rpartition(") ")[2].split()


def name(pid):
    return read(pid, "comm").strip()


def parents():
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat(entry)):
            found[int(entry)] = int(fields[1])
    return found


def children_of(pid):
    return [child for child, parent in parents().items() if parent == pid]


def tree(pid):
    """The process and all below it."""
    below = parents()
    found, rest = [], [pid]
    while rest:
        found.append(rest.pop())
        rest += [child for child, parent in below.items() if parent == found[-1]]
    return found


def cpu_seconds(pid):
    """Of user and system, of all that live and of all that were waited for."""
    ticks = sum(sum(map(int, fields[11:15])) for fields in map(stat, tree(pid)) if fields)
    return ticks * TICK


def memory(pid):
    """Bytes of the tree; what processes share counts once."""
    lines = (line for each in tree(pid) for line in read(each, "smaps_rollup").splitlines())
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


class Peak:
    """The most memory that a tree has, looked at once a second."""

    def __init__(self, pid):
        self.pid = pid
        self.bytes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def look(self):
        while not self.ended.wait(1):
            self.bytes = max(self.bytes, memory(self.pid))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
