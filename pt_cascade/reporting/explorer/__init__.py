"""The explorer: one HTML page that shows a sweep and a choice, offline. Text for a terminal is in the folder above."""
