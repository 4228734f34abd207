"""keepers: which of my data is worth training on, worth labelling, worth a gradient step?"""
