"""A real nginx with deploy/nginx.conf, in which only the ports and the folders are changed."""

import http.client
import signal
import ssl
import subprocess
from pathlib import Path

import requests

from tests.requirements import find
from tests.support.certificates import certify
from tests.support.world import ROOT, eventually, free_port

ADDRESS = "conveyor.example.com"


class Nginx:
    """nginx in front of an app, with a self-signed certificate."""

    def __init__(self, folder: Path, app_port: int, replica_port: int | None = None) -> None:
        program = find("nginx")
        assert program, "nginx is not installed: see tests/requirements.py"
        self.folder = folder
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self._app_port = app_port
        self._replica_port = replica_port
        self.main = folder / "nginx.conf"
        self.command = [program, "-c", str(self.main), "-e", str(folder / "error.log")]
        self._process: subprocess.Popen[bytes] | None = None
        self._write_main()
        certify(folder, ADDRESS)
        self._trusted = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))

    def install(self, text: str | None = None) -> None:
        """Put the site's configuration where nginx reads it."""
        text = (ROOT / "deploy" / "nginx.conf").read_text() if text is None else text
        changes = {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "127.0.0.1:8080": f"127.0.0.1:{self._app_port}",
            "/etc/letsencrypt/live/YOUR-ADDRESS": str(self.folder),
            f"/etc/letsencrypt/live/{ADDRESS}": str(self.folder),
            "YOUR-ADDRESS": ADDRESS,
        }
        if self._replica_port:
            changes["# server 127.0.0.1:8081"] = f"server 127.0.0.1:{self._replica_port}"
        for old, new in changes.items():
            text = text.replace(old, new)
        (self.folder / "conf.d" / "conveyor-for-slack.conf").write_text(text)

    def start(self) -> None:
        self._process = subprocess.Popen([*self.command, "-g", "daemon off;"])
        eventually((self.folder / "nginx.pid").exists)

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(15)
            self._process = None

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        """Send this through nginx, trusting its certificate; return the answer."""
        with requests.Session() as session:
            session.trust_env = False
            trusted = str(self.folder / "fullchain.pem")
            return session.post(self.url + path, data=body, headers=headers, verify=trusted, timeout=10)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=self._trusted)

    def logs(self) -> str:
        return "".join((self.folder / name).read_text() for name in ("access.log", "error.log"))

    def bodies_on_disk(self) -> list[Path]:
        return [path for path in (self.folder / "body").rglob("*") if path.is_file()]

    def _write_main(self) -> None:
        """Write the main configuration: like Debian's, with all files in our folder and everything logged."""
        (self.folder / "conf.d").mkdir()
        temporary = "\n".join(
            f"{name}_temp_path {self.folder}/{name.split('_')[-1]};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.main.write_text(
            f"""
pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log info;
worker_processes 1;
events {{ }}
http {{
{temporary}
access_log {self.folder}/access.log;
include {self.folder}/conf.d/*.conf;
}}
"""
        )
