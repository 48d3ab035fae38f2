"""The nouns that every room speaks of. They never load, print or train."""
