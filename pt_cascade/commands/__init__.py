"""The commands of ``pt-cascade``, one a file."""
