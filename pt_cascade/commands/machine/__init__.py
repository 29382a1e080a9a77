"""The command that looks at this machine and what is installed."""
