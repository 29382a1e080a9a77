"""Cut-offs, vectors of them, and grids. What a vector is worth is measured in sweep."""
