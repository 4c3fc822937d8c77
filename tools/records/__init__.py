"""What happened, kept: the database, its models and migrations, the decision log, leases and the outbox."""
