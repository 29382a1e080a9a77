"""The command on YAML files of experiments, and no other."""
