"""``pt-cascade experiment``: experiments of YAML files, run, verified and listed."""

from pt_cascade.commands.experiment.actions import add_arguments, execute

__all__ = ["add_arguments", "execute"]
