"""A campaign's batch to a Label Studio server, and its annotations back (extra `label-studio`)."""

from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import Client, connect
from keepers.integrations.label_studio.collecting import Pulled, poll, pull
from keepers.integrations.label_studio.round_trip import exchange
from keepers.integrations.label_studio.secret import VARIABLE, Token
from keepers.integrations.label_studio.sending import CHUNK, Pushed, channel, push

__all__ = [
    "CHUNK",
    "VARIABLE",
    "Client",
    "LabelStudioError",
    "Pulled",
    "Pushed",
    "Token",
    "channel",
    "connect",
    "exchange",
    "poll",
    "pull",
    "push",
]
