"""Where a run comes from: a record of each call that ran shards, and the side file in the form of ir_metadata made of them."""
