"""manifest.yaml and manifest-socket.yaml describe the same Slack app, except for how Slack reaches it."""

import yaml

from sandbox.workspace import manifest_scopes
from tests.support.world import ROOT

COMMENT = 2  # lines at the top of each, which say when to use it


def test_the_two_manifests_differ_only_in_how_slack_reaches_the_app() -> None:
    """Whoever changes manifest.yaml makes the same change in manifest-socket.yaml, comments included."""
    by_http, by_socket = (ROOT / name for name in ("manifest.yaml", "manifest-socket.yaml"))
    expected = [
        line.replace("socket_mode_enabled: false", "socket_mode_enabled: true")
        for line in by_http.read_text().splitlines()[COMMENT:]
        if "url: https://YOUR-ADDRESS/slack/events" not in line
    ]
    assert by_socket.read_text().splitlines()[COMMENT:] == expected
    assert yaml.safe_load(by_socket.read_text())["settings"]["socket_mode_enabled"] is True
    assert "YOUR-ADDRESS" not in by_socket.read_text()


def test_optional_scopes_are_listed_twice() -> None:
    """Slack takes a scope as optional only if it is also in the list of all scopes."""
    scopes = yaml.safe_load((ROOT / "manifest.yaml").read_text())["oauth_config"]["scopes"]
    assert scopes.keys() == {"bot", "bot_optional"}
    assert set(scopes["bot_optional"]) < set(scopes["bot"])
    for key, listed in scopes.items():
        assert listed == manifest_scopes(key)
        assert len(set(listed)) == len(listed)
