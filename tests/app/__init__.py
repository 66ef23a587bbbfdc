"""What the app does between the stand-ins for Slack and Conveyor, and what its parts do alone."""
