"""Other proxies in front of apps: HAProxy, Caddy, and nginx, with nothing set that they do not need."""

import http.client
import os
import subprocess
from contextlib import closing, suppress
from pathlib import Path

from tests.requirements import find
from tests.support.world import eventually, free_port

HAPROXY = """
defaults
    mode http
    timeout connect 1s
    timeout client 10s
    timeout server 10s
listen app
    bind 127.0.0.1:{port}
    {servers}
"""
CADDY = """
{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    reverse_proxy {servers}
}}
"""
# As many have it: connections are kept, bodies are as long as anybody likes, and failures are counted.
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    client_body_buffer_size 2m;
    access_log off;
    upstream app {{
        {servers}
        keepalive 8;
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


class Proxy:
    """One of these programs in front of the apps on these ports."""

    def __init__(self, program: str, folder: Path, *apps: int) -> None:
        found = find(program)
        assert found, f"{program} is not installed: see tests/requirements.py"
        self.port = free_port()
        file = folder / "configuration"
        template, servers, options = {
            "haproxy": (HAPROXY, "\n".join(f"server s{app} 127.0.0.1:{app}" for app in apps), ["-f"]),
            "caddy": (
                CADDY,
                " ".join(f"127.0.0.1:{app}" for app in apps),
                ["run", "--adapter", "caddyfile", "--config"],
            ),
            "nginx": (
                NGINX,
                "\n".join(f"server 127.0.0.1:{app};" for app in apps),
                ["-e", f"{folder}/error.log", "-c"],
            ),
        }[program]
        file.write_text(template.format(port=self.port, servers=servers, folder=folder))
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [found, *options, str(file)], env=environment, cwd=folder, stdout=log, stderr=log
            )
        eventually(self._answers, what=f"{program} answers")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(15)

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with closing(self.connect()) as connection, suppress(OSError):
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        return False
