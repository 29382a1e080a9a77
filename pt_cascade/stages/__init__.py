"""One kind of stage a file."""
