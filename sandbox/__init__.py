"""Stand-ins for Slack and Conveyor, for the tests and for trying the app with no accounts."""
