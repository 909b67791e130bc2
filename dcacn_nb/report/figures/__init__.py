"""The pictures of a run, one module per picture: drawn from its events alone, with a text alternative."""
