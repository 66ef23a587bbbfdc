"""What the tests share: the app between the stand-ins, the servers beside it, and common steps."""
