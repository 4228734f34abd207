"""A labelling campaign: what happened to it, where it stands, and how labels come back."""

from keepers.campaign import control
from keepers.campaign.agreement import agreement, krippendorff_alpha
from keepers.campaign.consensus import class_today
from keepers.campaign.desk import Desk
from keepers.campaign.estimates import Curve, Forecast, fit_curve, forecast, needed_for
from keepers.campaign.events import (
    BROUGHT,
    LABEL_STUDIO,
    Event,
    External,
    Id,
    Measure,
    Moved,
    Part,
    Planned,
    PlannedItem,
    Pool,
    Schema,
    Sent,
    Started,
    Trained,
    Vote,
    just_after,
    now,
    utc,
)
from keepers.campaign.items import STATUSES, Item, Status
from keepers.campaign.journal import NAME, Journal
from keepers.campaign.label_studio import Returned, label_studio_votes
from keepers.campaign.recording import Delivery, Recorded, id_readings, record
from keepers.campaign.returns import read_returned, read_votes
from keepers.campaign.state import State
from keepers.statistics import wilson

__all__ = [
    "BROUGHT",
    "LABEL_STUDIO",
    "NAME",
    "STATUSES",
    "Curve",
    "Delivery",
    "Desk",
    "Event",
    "External",
    "Forecast",
    "Id",
    "Item",
    "Journal",
    "Measure",
    "Moved",
    "Part",
    "Planned",
    "PlannedItem",
    "Pool",
    "Recorded",
    "Returned",
    "Schema",
    "Sent",
    "Started",
    "State",
    "Status",
    "Trained",
    "Vote",
    "agreement",
    "class_today",
    "control",
    "fit_curve",
    "forecast",
    "id_readings",
    "just_after",
    "krippendorff_alpha",
    "label_studio_votes",
    "needed_for",
    "now",
    "read_returned",
    "read_votes",
    "record",
    "utc",
    "wilson",
]
