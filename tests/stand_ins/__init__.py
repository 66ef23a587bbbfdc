"""The stand-ins behave like Slack and Conveyor, as far as the app depends on them."""
