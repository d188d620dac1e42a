"""Installs the peers' packages below .tools/peers, in the versions that stand beside their sources."""

import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent.parent
TOOLS = pathlib.Path(os.environ.get("LATCHHOOK_TOOLS", HERE.parent.parent / ".tools")) / "peers"


class Missing(Exception):
    """What cannot be installed here, and what to type instead."""


def is_current(files, home):
    return all((home / file.name).exists() and (home / file.name).read_bytes() == file.read_bytes() for file in files)


def install(name, files, commands):
    """Runs the commands in a directory of its own, unless they did with the very same files."""
    home = TOOLS / name
    if not is_current(files, home):
        print(f"installing {name} below {home}", file=sys.stderr)
        shutil.rmtree(home, ignore_errors=True)
        unfinished = home.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for command in commands:
            subprocess.run(command, cwd=unfinished, check=True, stdout=2)
        unfinished.rename(home)
        for file in files:
            shutil.copy(file, home)
    return home


def npm(name):
    if not shutil.which("npm"):
        raise Missing("found no npm: install Node.js 20")
    files = [HERE / name / file for file in ("package.json", "package-lock.json", ".npmrc")]
    copy = ["cp", *map(str, files), "."]
    home = install(name, files, [copy, ["npm", "ci", "--omit=dev", "--no-fund", "--no-audit"]])
    return {"NODE_PATH": str(home / "node_modules"), "NODE_ENV": "production"}


def pip(name):
    requirements = HERE / name / "requirements.txt"
    # In place, because a virtual environment does not survive being moved.
    python = TOOLS / f"{name}.venv"
    make = [sys.executable, "-m", "venv", "--clear", str(python)]
    fill = [str(python / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)]
    install(name, [requirements], [make, fill])
    return {"PATH": f"{python / 'bin'}:{os.environ['PATH']}"}


def apt(name):
    packages = (HERE / name / "packages.txt").read_text().split()
    known = subprocess.run(["dpkg-query", "--show", *packages], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if known.returncode:
        command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
        if os.geteuid() or not shutil.which("apt-get"):
            raise Missing(f"type: sudo {' '.join(command)}")
        subprocess.run(["apt-get", "update", "--quiet"], check=True, stdout=2)
        subprocess.run(command, check=True, stdout=2, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    return {}
