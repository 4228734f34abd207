"""Workflows: what a person runs."""
