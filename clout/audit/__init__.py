"""`clout audit`: the laws of the score, held against everything that an installation has published and stored."""
