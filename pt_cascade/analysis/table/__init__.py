"""One score a (query, document, stage): the data, its files, and tables made of runs. Rankings are made in replay."""
