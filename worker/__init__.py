"""What follows from the ledger: Conveyor is told, and the cards are drawn."""
