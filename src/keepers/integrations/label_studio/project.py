"""The campaign's project on the server: made once, found again, kept in step with what is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from keepers.campaign import State
from keepers.errors import DataError, RunError
from keepers.integrations.label_studio.answers import LabelStudioError
from keepers.integrations.label_studio.client import Client
from keepers.tasks.question import LABEL, Question
from keepers.types import Kind

CONTROL = LABEL
"""What the names of the controls in the labelling configuration begin with."""

_LONGEST_TITLE = 50
_PAGE = 100
_TAGS = {"text": "Text", "image": "Image"}
_JOINER = "\u2060"


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project on the server; `made` or `updated` just now."""

    number: int
    url: str
    made: bool = False
    updated: bool = False


def marker(campaign: str) -> str:
    """What the project's description says, and by what it is found again.

    >>> marker("f3a9")
    '[keepers campaign f3a9]'
    """
    return f"[keepers campaign {campaign}]"


def labelling_configuration(kind: Kind, question: Question) -> str:
    """Label Studio's labelling configuration: the text or picture, and what is asked of it.

    The first ten choices have the keys 1 to 9 and 0. Label Studio's page replaces `$name` in a
    choice by a field of the task; a mark of no width prevents it, and the alias returns the name
    as it is.

    Raises:
        DataError: examples that cannot be shown.

    >>> from keepers.tasks import CLASSES
    >>> print(labelling_configuration("text", CLASSES.question(("a<b", "$5"))))
    <View>
      <Text name="text" value="$text" valueType="text" />
      <Choices name="label" toName="text" choice="single" required="true" showInline="true">
        <Choice value="a&lt;b" alias="a&lt;b" hotkey="1" />
        <Choice value="$\u20605" alias="$5" hotkey="2" />
      </Choices>
    </View>
    """
    if kind not in _TAGS:
        raise DataError(
            "data: Label Studio cannot show a pool of vectors. Give texts or pictures, or label "
            "in a file"
        )
    view = ElementTree.Element("View")
    shown = {"name": kind, "value": f"${kind}"}
    if kind == "text":
        shown["valueType"] = "text"  # a server may be set up to take texts for addresses
    ElementTree.SubElement(view, _TAGS[kind], shown)
    for tag, attributes, choices in question.controls():
        own = dict(attributes)
        if name := own.pop("name", None):
            own = {"name": name, "toName": kind, **own}
        else:
            own["value"] = _shown(own["value"])
        control = ElementTree.SubElement(view, tag, own)
        for number, given in enumerate(choices):
            value, alias = given["value"], given.get("alias", given["value"])
            choice = ElementTree.SubElement(
                control, "Choice", {"value": _shown(value), "alias": alias}
            )
            if number < 10:
                choice.set("hotkey", str((number + 1) % 10))
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode")


def _shown(text: str) -> str:
    return re.sub(r"\$(?=[\w\[\].{}])", f"${_JOINER}", text)


def controls_in(configuration: str) -> tuple[tuple[str, ...], ...] | None:
    """What a labelling configuration asks: the tags with a name, and what they offer.

    None where it cannot be read. What a person set differently beside that is left alone.

    >>> from keepers.tasks import CLASSES
    >>> controls_in(labelling_configuration("image", CLASSES.question(("cat & dog", "$5"))))
    (('Choices', 'label', 'cat & dog', '$5'),)
    """
    try:
        view = ElementTree.fromstring(configuration)
    except ElementTree.ParseError:
        return None
    found: list[tuple[str, ...]] = []
    for control in view.iter():
        name = control.get("name", "")
        if name == CONTROL or name.startswith(f"{CONTROL}-"):
            offered = [
                each.get("alias") or each.get("value", "") for each in control.iter("Choice")
            ]
            many = ["several"] * (control.get("choice") == "multiple")
            found.append((control.tag, name, *many, *offered))
    return tuple(found)


def find_project(client: Client, campaign: str) -> dict[str, Any] | None:
    """The project that carries the campaign's mark; the oldest, should there be several."""
    found = [
        project
        for project in _projects(client)
        if marker(campaign) in str(project.get("description") or "")
    ]
    return min(found, key=lambda project: int(project["id"]), default=None)


def ensure_project(client: Client, state: State, kind: Kind, title: str | None = None) -> Project:
    """The campaign's project: found by its mark, or made, with the classes as they are today.

    Raises:
        RunError: the campaign has no classes yet.
        DataError: examples that cannot be shown.
        LabelStudioError: the server cannot be reached, or refuses.
    """
    if not state.classes:
        raise RunError("campaign: it has no classes yet. Give them with --classes")
    configuration = labelling_configuration(kind, state.question)
    found = find_project(client, state.campaign)
    if found is None:
        made = client.post(
            "/api/projects/",
            {
                "title": _title(title, state.campaign),
                "description": f"Made by keepers: do not remove {marker(state.campaign)}",
                "label_config": configuration,
                "maximum_annotations": max(1, int(state.settings.get("votes", 1))),
                "sampling": "Sequential sampling",
                "show_skip_button": True,
                "show_collab_predictions": False,  # they would colour the labels, control ones too
                "enable_empty_annotation": False,
            },
        )
        return Project(number=number_of(client, made), url=page(client, made), made=True)
    there = controls_in(str(found.get("label_config") or ""))
    differs = there != controls_in(configuration)
    number = number_of(client, found)
    if differs:
        client.patch(f"/api/projects/{number}/", {"label_config": configuration})
    return Project(number=number, url=page(client, found), updated=differs)


def number_of(client: Client, project: Any) -> int:
    """The project's number on the server."""
    number: object = project.get("id") if isinstance(project, dict) else None
    if not isinstance(number, int):
        raise LabelStudioError(f"{client.url}: gave a project without a number")
    return number


def page(client: Client, project: Any) -> str:
    """Where annotators find the project."""
    return f"{client.url}/projects/{number_of(client, project)}"


def _title(title: str | None, campaign: str) -> str:
    # Titles are unique to a user; the campaign's own name tells two of a kind apart.
    ending = f" ({campaign[:8]})"
    return (title or "keepers")[: _LONGEST_TITLE - len(ending)] + ending


def _projects(client: Client) -> Iterator[dict[str, Any]]:
    number = 1
    while True:
        answer = client.get(
            "/api/projects/",
            page=number,
            page_size=_PAGE,
            include="id,description,label_config",
        )
        results: Any = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            raise LabelStudioError(
                f"{client.url}: gave no list of projects. Is it a Label Studio of version 1.23?"
            )
        for project in results:
            if isinstance(project, dict):
                yield project
        if not answer.get("next"):
            return
        number += 1
