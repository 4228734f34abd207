"""The built-in rows: each a composition of a formula and a selector."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from keepers.methods.drawn import BY_SCORE, UNIFORM
from keepers.methods.language import LANGUAGE
from keepers.methods.method import Method
from keepers.methods.posterior import POSTERIOR
from keepers.methods.ranked import LEARNT, LOST, UNCERTAIN
from keepers.methods.several import SEVERAL
from keepers.methods.spread import SPREAD

_ROWS = (*UNIFORM, *UNCERTAIN, *LEARNT, *SPREAD, *LOST, *POSTERIOR, *BY_SCORE, *SEVERAL, *LANGUAGE)

METHODS: Mapping[str, Method] = MappingProxyType({row.name: row for row in _ROWS})
