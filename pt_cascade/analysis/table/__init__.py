"""One score for each (query, document, stage): the data, its files, and tables from runs. Rankings are computed in replay."""
