"""The two lines in the log of a start: what the app runs with, and when it can post cards."""

import logging
import time
from collections.abc import Callable

from sqlalchemy import URL

from ledger.connecting import url_of
from operations.health import Health
from settings import Settings
from version import VERSION

log = logging.getLogger(__name__)


def log_start(settings: Settings, address: str) -> None:
    """Log what the app runs with, without any secret. `address` is where it listens."""
    modes = {"http": settings.slack_signing_secret, "socket": settings.slack_app_token}
    log.info(
        "app=started version=%s address=%s channel=%s reviewers=%s ledger=%s mode=%s webhook=%s",
        VERSION,
        address,
        settings.slack_channel_id,
        len(settings.reviewers) or "everybody",
        _place(settings.database_url),
        "+".join(mode for mode, secret in modes.items() if secret),
        "on" if settings.conveyor_webhook_secret else "off",
    )


def _place(database_url: str) -> str:
    """Return which database the ledger is and where, without user, password and options."""
    url = url_of(database_url)
    return str(URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database))


class Announced:
    """The loop that posts cards. It logs once that the app is ready, as soon as /readyz has no reasons.

    Only the process that does the background work runs it.
    """

    def __init__(self, post: Callable[[], float], health: Health) -> None:
        self._post = post
        self._health = health
        self._made_at = time.monotonic()
        self._is_ready = False

    def round(self) -> float:
        if not self._is_ready and not self._health.found().reasons:
            self._is_ready = True
            log.info("app=ready version=%s seconds=%.1f", VERSION, time.monotonic() - self._made_at)
        return self._post()
