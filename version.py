"""Which version of the app this is: the one place that says so. The first heading of CHANGELOG.md agrees."""

VERSION = "1.0.0"
USER_AGENT = f"conveyor-for-slack/{VERSION}"  # as which Conveyor and Slack see the app
