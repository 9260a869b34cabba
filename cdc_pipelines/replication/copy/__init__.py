"""The initial copy: plan chunks, move them, remember them."""
