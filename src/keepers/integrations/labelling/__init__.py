"""A local web page to label the batches of a campaign (extra `ui`)."""

from keepers.integrations.labelling.application import create_app
from keepers.integrations.labelling.server import serve

__all__ = ["create_app", "serve"]
