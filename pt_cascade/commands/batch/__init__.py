"""The commands that run a cascade over many queries into a folder, and look at that folder."""
