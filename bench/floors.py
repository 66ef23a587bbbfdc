"""The two floors: the least that any app with Flask, and any app with Bolt, does for a click in Slack.

No such app can be faster, so the bench compares the app with them. Each floor must import only what it needs,
so that its memory and its start are not those of the other.
"""

import os

from flask import Flask, Response, request


def bare_flask() -> Flask:
    """Return an app with one route, which only checks Slack's signature."""
    from slack_sdk.signature import SignatureVerifier

    app = Flask(__name__)
    verifier = SignatureVerifier(os.environ["SLACK_SIGNING_SECRET"])

    @app.post("/slack/events")
    def events() -> Response:
        signed = verifier.is_valid_request(request.get_data(), dict(request.headers))
        return Response(status=200 if signed else 401)

    return app


def bare_bolt() -> Flask:
    """Return an app with one Bolt listener, which only acknowledges."""
    from slack_bolt import Ack, App
    from slack_bolt.adapter.flask import SlackRequestHandler
    from slack_bolt.authorization import AuthorizeResult

    token, secret = os.environ.pop("SLACK_BOT_TOKEN"), os.environ["SLACK_SIGNING_SECRET"]
    identity = AuthorizeResult(enterprise_id=None, team_id=None, bot_token=token)
    bolt = App(authorize=lambda: identity, signing_secret=secret, process_before_response=True)

    @bolt.action("approve")
    def listen(ack: Ack) -> None:
        ack()

    app = Flask(__name__)
    handler = SlackRequestHandler(bolt)
    app.post("/slack/events", endpoint="events")(lambda: handler.handle(request))
    return app
