"""Cut-offs, vectors of cut-offs, and grids. The measures of a vector are computed in sweep."""
