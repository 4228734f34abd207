"""Shards: data in many files, worked on one file at a time, here or on the workers of Ray."""
