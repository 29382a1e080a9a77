"""What touches models, the disk and the clock."""
