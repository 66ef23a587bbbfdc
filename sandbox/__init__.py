"""Stand-ins for Slack and Conveyor, for the tests and for trying the app without any account.

They run on this computer and talk to the app only over HTTP and WebSockets. They must not import its modules.
"""
