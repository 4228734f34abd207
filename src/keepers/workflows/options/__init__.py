"""The options of the workflows, each declared once, in modules that import without torch."""
