"""A Label Studio in memory that answers as 1.23.2 does, and fails when it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import httpx

URL = "http://label-studio.test"
LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = "eyJhbGciOi.eyJ0b2tlbl90.aZY81zIlm-2O"

Trouble = Callable[[httpx.Request], httpx.Response | None]


class FakeLabelStudio:
    """Projects, tasks and annotations; `requests` are those it was sent, in order.

    `trouble` is asked first, and answers or raises in the server's place; `lose_answer_to` a
    method and path breaks the connection once, after the request was carried out. With
    `flag_is_read_only` no request changes whether a task is labelled.
    """

    def __init__(self) -> None:
        self.projects: dict[int, dict[str, Any]] = {}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.requests: list[httpx.Request] = []
        self.trouble: Trouble | None = None
        self.lose_answer_to: str | None = None
        self.flag_is_read_only = False
        self.access = 0
        self.page_limit = 1000
        self._numbers = iter(range(1, 10**9))
        self._clock = datetime(2026, 3, 1, 12, tzinfo=UTC)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.trouble is not None:
            answer = self.trouble(request)
            if answer is not None:
                return answer
        answer = self._route(request)
        if self.lose_answer_to == f"{request.method} {request.url.path}":
            self.lose_answer_to = None
            raise httpx.ReadError("connection reset by peer", request=request)
        return answer

    def annotate(
        self, task: int, choice: str | None, *, user: int = 1, **others: Any
    ) -> dict[str, Any]:
        """A user's annotation, or a skip (None)."""
        moment = self.now()
        region = {
            "from_name": "label",
            "to_name": "text",
            "type": "choices",
            "value": {"choices": [choice]},
        }
        made = {
            "id": next(self._numbers),
            "completed_by": user,
            "result": [] if choice is None else [region],
            "was_cancelled": choice is None,
            "created_at": moment,
            "updated_at": moment,
            "lead_time": 2.5,
            **others,
        }
        held = self.tasks[task]
        held["annotations"].append(made)
        held["is_labeled"] = _counted(held)["total_annotations"] >= held["overlap"]
        return made

    def shown_to(self, user: int) -> list[str]:
        """The items that are still to be done and that a user has not annotated or skipped."""
        return [
            task["data"]["item_id"]
            for task in self.tasks.values()
            if not task["is_labeled"]
            and all(each["completed_by"] != user for each in task["annotations"])
        ]

    def edit(self, annotation: dict[str, Any], choice: str) -> None:
        """What an annotation becomes when its author changes it."""
        annotation["result"][0]["value"]["choices"] = [choice]
        annotation["updated_at"] = self.now()

    def now(self) -> str:
        self._clock += timedelta(seconds=1)
        return self._clock.isoformat().replace("+00:00", "Z")

    def task_of(self, item: object) -> int:
        (found,) = (n for n, task in self.tasks.items() if task["data"]["item_id"] == str(item))
        return found

    def items(self) -> list[str]:
        return [task["data"]["item_id"] for task in self.tasks.values()]

    def sent_to(self, path: str) -> list[Any]:
        """The bodies that were posted there."""
        return [
            json.loads(request.content)
            for request in self.requests
            if request.method == "POST" and request.url.path == path
        ]

    def _route(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path.rstrip("/"), request.method
        if path == "/api/token/refresh":
            if json.loads(request.content) != {"refresh": PERSONAL}:
                return _problem(401, "Token is invalid")
            self.access += 1
            return httpx.Response(200, json={"access": f"access-{self.access}"})
        if request.headers.get("authorization") not in (
            f"Token {LEGACY}",
            f"Bearer access-{self.access}",
        ):
            return _problem(401, "Invalid token.")
        if path == "/api/current-user/whoami":
            return httpx.Response(
                200, json={"id": 1, "email": "a@b.co"}, headers={"set-cookie": "sessionid=crumb"}
            )
        parts = path.strip("/").split("/")
        match method, parts:
            case "GET", ["api", "projects"]:
                return self._list_projects(request)
            case "POST", ["api", "projects"]:
                number = next(self._numbers)
                self.projects[number] = {"id": number, **json.loads(request.content)}
                return httpx.Response(201, json=self.projects[number])
            case "PATCH", ["api", "projects", number]:
                self.projects[int(number)].update(json.loads(request.content))
                return httpx.Response(200, json=self.projects[int(number)])
            case "POST", ["api", "projects", number, "import"]:
                return self._import(int(number), json.loads(request.content))
            case "GET", ["api", "tasks"]:
                return self._list_tasks(request)
            case "GET", ["api", "tasks", number] if int(number) in self.tasks:
                return httpx.Response(200, json=self.tasks[int(number)])
            case "PATCH", ["api", "tasks", number] if int(number) in self.tasks:
                changes = json.loads(request.content)
                if self.flag_is_read_only:
                    del changes["is_labeled"]
                self.tasks[int(number)].update(changes)
                return httpx.Response(200, json=self.tasks[int(number)])
            case "DELETE", ["api", "tasks", number] if int(number) in self.tasks:
                del self.tasks[int(number)]
                return httpx.Response(204)
            case _:
                return _problem(404, "Not found")

    def _list_projects(self, request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        size = min(self.page_limit, int(request.url.params["page_size"]))
        every = list(self.projects.values())[::-1]
        more = len(every) > page * size
        results = every[(page - 1) * size : page * size]
        return httpx.Response(200, json={"results": results, "next": "more" if more else None})

    def _import(self, project: int, tasks: list[dict[str, Any]]) -> httpx.Response:
        if project not in self.projects:
            return _problem(404, "No Project matches the given query.")
        numbers = [self.add(project, task) for task in tasks]
        return httpx.Response(201, json={"task_count": len(numbers), "task_ids": numbers})

    def add(self, project: int, task: dict[str, Any]) -> int:
        number = next(self._numbers)
        self.tasks[number] = {
            "id": number,
            "project": project,
            "annotations": [],
            "drafts": [],
            "predictions": [],
            "overlap": self.projects[project].get("maximum_annotations", 1),
            "is_labeled": False,
            **task,
        }
        return number

    def _list_tasks(self, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        if int(params["project"]) not in self.projects:
            return _problem(404, "No Project matches the given query.")
        if len(str(request.url)) > 8_000:
            return httpx.Response(400, text="<h1>Bad Request (400)</h1>")
        found = [t for t in self.tasks.values() if t["project"] == int(params["project"])]
        if "query" in params:
            (wanted,) = json.loads(unquote(params["query"]))["filters"]["items"]
            assert wanted["filter"] == "filter:tasks:data.item_id"
            assert wanted["operator"] == "in_list"
            found = [t for t in found if t["data"].get("item_id") in wanted["value"]]
        page, size = int(params["page"]), min(self.page_limit, int(params["page_size"]))
        shown = found[(page - 1) * size : page * size]
        if page > 1 and not shown:
            return _problem(404, "Invalid page.")
        return httpx.Response(200, json={"tasks": [*map(_counted, shown)], "total": len(found)})


def _counted(task: dict[str, Any]) -> dict[str, Any]:
    skips = sum(annotation["was_cancelled"] for annotation in task["annotations"])
    return {
        **task,
        "total_annotations": len(task["annotations"]) - skips,
        "cancelled_annotations": skips,
    }


def _problem(status: int, detail: str) -> httpx.Response:
    return httpx.Response(status, json={"status_code": status, "detail": detail})
