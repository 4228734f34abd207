"""Core-sets and scores of data that stay in their shards."""
