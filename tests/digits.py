"""The handwritten digits of scikit-learn, read once: each reading takes a tenth of a second."""

from functools import cache

from sklearn import datasets

load_digits = cache(datasets.load_digits)
