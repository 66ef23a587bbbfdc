"""The HTTP server of the sandbox's page.

`/events` sends everything to a browser window once, and then what changes. What a person does arrives as a
POST to `/act/NAME`. The server must refuse every request that does not come from the page itself, which it
checks by the Host and Origin headers.
"""

import inspect
import json
import threading
from collections.abc import Iterator

import flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.serving import make_server

from sandbox.page import Page
from sandbox.slack import Refused
from sandbox.stand_in import QuietHandler
from sandbox.workspace import Json

POLL_SECONDS = 0.05
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class UnsortedJson(DefaultJSONProvider):
    """JSON with its keys in the order in which they arrived, which the page shows."""

    sort_keys = False


class PageServer:
    """Serves the page on 127.0.0.1."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._stopping = threading.Event()
        self.url = ""
        app = flask.Flask(__name__, static_folder="static", static_url_path="/static")
        app.json = UnsortedJson(app)
        app.before_request(self._refuse_other_websites)
        app.after_request(_add_security_headers)
        app.get("/", endpoint="index")(lambda: app.send_static_file("index.html"))
        app.get("/events", endpoint="events")(self._events)
        app.get("/search", endpoint="search")(self._search)
        app.get("/exchange/<key>", endpoint="exchange")(page.bodies)
        app.post("/act/<name>", endpoint="act")(self._act)
        self._app = app

    def serve(self, port: int) -> None:
        server = make_server("127.0.0.1", port, self._app, threaded=True, request_handler=QuietHandler)
        self.url = f"http://127.0.0.1:{port}"
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End the streams of events. The rest ends with the process."""
        self._stopping.set()

    def _refuse_other_websites(self) -> flask.Response | None:
        """Refuse a request unless it comes from the page itself.

        Any website can make a browser send requests to 127.0.0.1, or let its own host name point there.
        """
        request = flask.request
        origin = request.headers.get("Origin", f"http://{request.host}")
        if request.host not in self._hosts or origin.removeprefix("http://") not in self._hosts:
            return flask.Response("This page is for this computer only.\n", 403, mimetype="text/plain")
        if request.method == "POST" and (not request.is_json or "Origin" not in request.headers):
            return flask.Response("Only the page itself may do this.\n", 403, mimetype="text/plain")
        return None

    def _events(self) -> flask.Response:
        arguments = flask.request.args
        since = arguments.get("since", 0.0, float)
        changes = self._changes(arguments["person"], arguments["window"], since)
        return flask.Response(changes, mimetype="text/event-stream")

    def _changes(self, person: str, window: str, since: float) -> Iterator[str]:
        """Yield everything first, and then what has changed. A value of null means that the key is gone."""
        page, sent_versions = self._page, (-1, -1)
        sent: dict[str, str] = {}
        while not self._stopping.wait(POLL_SECONDS):
            versions = (page.slack.version, page.conveyor.version)
            if versions != sent_versions:
                snapshot = page.snapshot(person, window, since)
                current = {key: json.dumps(value) for key, value in snapshot.items()}
                changed = {key: json.loads(value) for key, value in current.items() if sent.get(key) != value}
                changed |= dict.fromkeys(sent.keys() - current.keys())
                if changed or not sent:
                    yield f"data: {json.dumps({'whole': not sent, 'changed': changed})}\n\n"
                sent, sent_versions = current, versions

    def _search(self) -> flask.Response:
        arguments = flask.request.args
        return flask.jsonify(self._page.search(arguments["person"], arguments["query"]))

    def _act(self, name: str) -> tuple[Json, int]:
        """Call this action of the page, with the fields of the JSON object as its arguments."""
        act = getattr(self._page, f"act_{name}", None)
        if act is None:
            return {"problem": f"There is no “{name}”."}, 404
        try:
            arguments = inspect.signature(act).bind(**flask.request.get_json())
        except TypeError as error:
            return {"problem": str(error)}, 400
        try:
            return act(*arguments.args, **arguments.kwargs), 200
        except Refused as refused:
            sentence = str(refused)
            return {"problem": f"{sentence[0].upper()}{sentence[1:]}."}, 200


def _add_security_headers(response: flask.Response) -> flask.Response:
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response
