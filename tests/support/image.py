"""Builds the Dockerfile's image and runs it without a container engine.

Bubblewrap gives each step and the app a root folder of their own, in which this machine's /usr and Python
stand for the base image.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

PYTHON = Path(sys.base_prefix)
FROM_THIS_MACHINE = [path for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64") if Path(path).exists()]


@dataclass
class Image:
    """What a Dockerfile made: a root folder, and how to start the app in it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "root"
    volumes: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)

    def run(
        self, command: list[str], settings: Mapping[str, str], volume: Path, *more: str, user: str = ""
    ) -> list[str]:
        """Return what starts a command as `docker run --read-only` would: only the volume can be written."""
        uid, gid = self._ids(user or self.user)
        drop = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--bounding-set=-all"]
        drop += ["--no-new-privs", "--pdeathsig=KILL"]  # changing the user clears --die-with-parent
        binds = ["--bind", str(volume), self.volumes[0]]
        options = ["--unshare-pid", "--as-pid-1", "--die-with-parent", *more]
        return self._enter("--ro-bind", settings, *binds, *options, "--", *drop, *command)

    def build_step(self, command: str, settings: Mapping[str, str]) -> None:
        entered = self._enter("--bind", settings, "--", "/bin/sh", "-ec", command)
        done = subprocess.run(entered, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    def path(self, inside: str) -> Path:
        """Return where a file of the image lies on this machine."""
        return self.root / os.path.normpath(os.path.join(self.folder, inside)).lstrip("/")

    def _enter(self, how: str, settings: Mapping[str, str], *more: str) -> list[str]:
        """Return the command for bubblewrap, in which settings win over the image's environment."""
        binds = [part for path in FROM_THIS_MACHINE for part in ("--ro-bind", path, path)]
        if not PYTHON.is_relative_to("/usr"):
            binds += ["--ro-bind", str(PYTHON), str(PYTHON)]
        system = ["--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
        variables = {"PATH": "/venv/bin:/usr/sbin:/usr/bin:/bin", **self.environment, **settings}
        given = [part for name, value in variables.items() for part in ("--setenv", name, value)]
        enter = ["bwrap", how, str(self.root), "/", *binds, *system, "--clearenv", *given]
        return [*enter, "--chdir", self.folder, *more]

    def _ids(self, user: str) -> tuple[int, int]:
        """Return the user's number and group from the image's /etc/passwd; a number needs no entry there."""
        entries = [line.split(":") for line in (self.root / "etc/passwd").read_text().splitlines()]
        found = [entry for entry in entries if user in (entry[0], entry[2])]
        return (int(found[0][2]), int(found[0][3])) if found else (int(user), 0)


def build(context: Path, root: Path) -> Image:
    """Run every step of the Dockerfile in a new root folder and return the image."""
    image = Image(root)
    _lay_base(root)
    # Which package registry is used is this machine's business, as with a container engine.
    mirrors = {name: value for name, value in os.environ.items() if name in ("PIP_CERT", "PIP_INDEX_URL")}
    for step, rest in instructions((context / "Dockerfile").read_text()):
        image.steps.append(step)
        match step:
            case "FROM":
                assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", rest), rest
                image.build_step(f"{PYTHON}/bin/python3 -m venv /venv", {})
            case "ENV" | "LABEL":
                named = image.environment if step == "ENV" else image.labels
                named |= dict(part.split("=", 1) for part in shlex.split(rest))
            case "WORKDIR":
                image.folder = rest
                image.path(".").mkdir()
            case "COPY":
                _copy(image, context, *rest.split())
            case "RUN":
                image.build_step(rest, mirrors)
            case "USER":
                image.user = rest
            case "VOLUME":
                image.volumes.append(rest)
            case "EXPOSE":
                image.ports.append(int(rest))
            case "HEALTHCHECK":
                image.health_check = json.loads(rest.partition("CMD ")[2])
            case "CMD":
                image.command = json.loads(rest)
            case _:
                raise AssertionError(f"The test does not know the step {step}.")
    return image


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each step and its arguments, with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        step, _, rest = line.partition(" ")
        yield step, rest.strip()


def _copy(image: Image, context: Path, source: str, target: str) -> None:
    for name in _files(context, source):
        copied = image.path(target if source == name else f"{target}/{name}")
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(context / name, copied)


def _files(context: Path, source: str) -> list[str]:
    """Return the files that COPY takes: one, or those of a folder that .dockerignore lets in."""
    found = [context / source] if (context / source).is_file() else (context / source).rglob("*")
    names = [path.relative_to(context) for path in found if path.is_file()]
    return sorted(str(name) for name in names if is_sent(context, name))


def is_sent(context: Path, path: Path) -> bool:
    """Return whether .dockerignore lets a file into the build; the last pattern that matches decides."""
    sent = True
    for pattern in (context / ".dockerignore").read_text().splitlines():
        if not pattern or pattern.startswith("#"):
            continue
        fits = "/" + pattern.lstrip("!").strip("/")
        if any(PurePosixPath("/", part).match(fits) for part in (path, *path.parents)):
            sent = pattern.startswith("!")
    return sent


def _lay_base(root: Path) -> None:
    """Make a root folder with this machine's users and certificates, and with mount points."""
    root.chmod(0o755)
    # cp, since some files there may be unreadable and some links may lead nowhere.
    subprocess.run(["/bin/cp", "--archive", "/etc", str(root / "etc")], check=True)
    for path in [*FROM_THIS_MACHINE, "/proc", "/dev"]:
        (root / path.lstrip("/")).mkdir()
    (root / str(PYTHON).lstrip("/")).mkdir(parents=True, exist_ok=True)
