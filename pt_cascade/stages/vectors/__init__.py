"""A collection's vectors: built, stored, searched, and by which model. The stages that use them stand one folder up."""
