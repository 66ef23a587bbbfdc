"""The page's server: what a browser gets, and what it may send.

A window gets everything once and then what changes (`/events`); what its person does comes back as
`/act/NAME`. Only the page itself may do that: other websites are kept out by Host and Origin.
"""

import inspect
import json
import threading
from collections.abc import Iterator

import flask
from flask.json.provider import DefaultJSONProvider
from werkzeug.serving import make_server

from sandbox.page import Json, Page
from sandbox.slack import Refused
from sandbox.stand_in import QuietHandler

LOOK_SECONDS = 0.05
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class AsSent(DefaultJSONProvider):
    """JSON with the keys in the order in which they came, which the wire shows."""

    sort_keys = False


class PageServer:
    """The page on 127.0.0.1."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._stopping = threading.Event()
        self.url = ""
        app = flask.Flask(__name__, static_folder="static", static_url_path="/static")
        app.json = AsSent(app)
        app.before_request(self._keep_others_out)
        app.after_request(_with_policy)
        app.get("/", endpoint="index")(lambda: app.send_static_file("index.html"))
        app.get("/events", endpoint="events")(self._events)
        app.get("/search", endpoint="search")(self._search)
        app.get("/exchange/<key>", endpoint="exchange")(page.bodies)
        app.post("/act/<name>", endpoint="act")(self._act)
        self._app = app

    def serve(self, port: int) -> None:
        server = make_server("127.0.0.1", port, self._app, threaded=True, request_handler=QuietHandler)
        self.url = f"http://127.0.0.1:{port}"
        self._names = {f"127.0.0.1:{port}", f"localhost:{port}"}
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End the streams; the rest ends with the process."""
        self._stopping.set()

    def _keep_others_out(self) -> flask.Response | None:
        """A website may send requests to loopback, or point its own name there; neither gets anything."""
        request = flask.request
        origin = request.headers.get("Origin", f"http://{request.host}")
        if request.host not in self._names or origin.removeprefix("http://") not in self._names:
            return flask.Response("This page is for this computer only.\n", 403, mimetype="text/plain")
        if request.method == "POST" and (not request.is_json or "Origin" not in request.headers):
            return flask.Response("Only the page itself may do this.\n", 403, mimetype="text/plain")
        return None

    def _events(self) -> flask.Response:
        of = flask.request.args
        changes = self._changes(of["person"], of["window"], of.get("since", 0.0, float))
        return flask.Response(changes, mimetype="text/event-stream")

    def _changes(self, person: str, window: str, since: float) -> Iterator[str]:
        """First everything, then what has changed; what is null is gone."""
        page, versions = self._page, (-1, -1)
        sent: dict[str, str] = {}
        while not self._stopping.wait(LOOK_SECONDS):
            now = (page.slack.version, page.conveyor.version)
            if now != versions:
                seen = page.snapshot(person, window, since)
                fresh = {key: json.dumps(value) for key, value in seen.items()}
                changed = {key: json.loads(value) for key, value in fresh.items() if sent.get(key) != value}
                changed |= dict.fromkeys(sent.keys() - fresh.keys())
                if changed or not sent:
                    yield f"data: {json.dumps({'whole': not sent, 'changed': changed})}\n\n"
                sent, versions = fresh, now

    def _search(self) -> flask.Response:
        arguments = flask.request.args
        return flask.jsonify(self._page.search(arguments["person"], arguments["query"]))

    def _act(self, name: str) -> tuple[Json, int]:
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


def _with_policy(response: flask.Response) -> flask.Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response
