"""What the commands of `sluice` do and print; `bot.cli` only reads their arguments."""
