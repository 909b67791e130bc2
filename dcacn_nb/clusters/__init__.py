"""What a person makes of clusters: names, merges, tables."""
