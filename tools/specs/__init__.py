"""Read a feature's spec from where the team writes it."""
