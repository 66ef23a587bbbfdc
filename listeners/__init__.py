"""Everything people do in Slack: each click is checked, recorded in the ledger and answered."""
