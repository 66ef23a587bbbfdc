"""The durable record: every request, its state, who decided."""
