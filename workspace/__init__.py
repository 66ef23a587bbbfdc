"""Slack as the app sees it: the channel, the people who may decide, the parts of a message."""
