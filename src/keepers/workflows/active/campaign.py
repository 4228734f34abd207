"""`Campaign`: what should be labelled next, round by round."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from keepers.campaign import Delivery, Desk, Recorded, Schema, State
from keepers.errors import DataError, ParameterError, RunError, unknown_name
from keepers.files import sweep
from keepers.options import taking
from keepers.types import Progress
from keepers.workflows.active.batches import Batch, untouched
from keepers.workflows.active.beginning import Opened, begin, come_back, move
from keepers.workflows.active.drift import Drift, changes, is_new, measure_event
from keepers.workflows.active.ground import Ground
from keepers.workflows.active.judging import said_of_balance, said_of_halves
from keepers.workflows.active.labelled import write_labelled
from keepers.workflows.active.neighbours import said_of_search
from keepers.workflows.active.rounds import Round
from keepers.workflows.active.standing import Standing, standing
from keepers.workflows.active.work import at_work, discard_models
from keepers.workflows.options.active import StartOptions, check_names
from keepers.workflows.options.shared import Say
from keepers.workflows.workplace import say_or_not


class Campaign:
    """A labelling campaign in a folder: a pool, a journal of all events, and a proxy.

    Create one with `start`, and reopen it with `open`. `state` is computed from the journal alone.

    >>> import keepers, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     campaign = keepers.Campaign.start("digits", campaign=f"{folder}/digits",
    ...                                       classes=[str(digit) for digit in range(10)])
    ...     batch = campaign.query(20)
    >>> len(batch), batch.round
    (20, 1)
    """

    def __init__(
        self, opened: Opened, *, progress: Progress | None = None, say: Say | None = None
    ) -> None:
        self.path = opened.path
        self.journal = opened.journal
        self.config = opened.config
        self.holdings = opened.holdings
        kept = opened.holdings.memory
        memory = None if kept is None else kept / "shown.json"
        self.desk = Desk(opened.journal, opened.holdings.source, memory)
        self._reading = opened.reading
        self._untrusted = opened.untrusted
        self._progress, self._say = progress, say_or_not(say)
        self.drift = self._sync()
        self._pool = self.state.pool

    @classmethod
    @taking(StartOptions)
    def start(cls, pool: str | Path, options: StartOptions) -> Self:
        """Start a campaign on a pool of unlabelled examples.

        Args:
            pool: a path or hub name, as in `keepers.coreset`. If it has labels, they are read only
                if `label` names their column.

        Raises:
            KeepersError: an argument or the data are invalid; nothing is written then.
        """
        return cls(begin(pool, options), progress=options.progress, say=options.say)

    @classmethod
    def open(
        cls,
        campaign: str | Path = ".",
        *,
        proxy: str | None = None,
        target: str | None = None,
        features: str | None = None,
        progress: Progress | None = None,
        say: Say | None = None,
    ) -> Self:
        """Open an existing campaign.

        The folder may come from somebody else, so a model of the campaign that is code
        (`package.module:function`) is called only if `proxy`, `target` or `features` names it
        again. Everything that needs no model works without.

        Raises:
            RunError: the folder holds no campaign, or its journal cannot be read.
            DataError: the pool is missing, or is another one.
        """
        named = {"proxy": proxy, "target": target, "features": features}
        return cls(come_back(Path(campaign), progress, named), progress=progress, say=say)

    @classmethod
    def move(
        cls,
        campaign: str | Path = ".",
        *,
        pool: str | Path | None = None,
        labelled: str | Path | None = None,
        test: str | Path | None = None,
        progress: Progress | None = None,
    ) -> dict[str, str]:
        """Record the new paths of the campaign's data; returns the recorded paths.

        Raises:
            ParameterError: no data are named, or data that the campaign does not have.
            DataError: the examples there differ from the last ones of the campaign.
        """
        return move(Path(campaign), {"pool": pool, "labelled": labelled, "test": test}, progress)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    @property
    def state(self) -> State:
        """The current state, computed from the journal."""
        return self.desk.state

    def _sync(self) -> Drift:
        """Say how the data changed; write it down, and labels that were added, where one can."""
        if self.journal.read_only:
            drift = self._as_it_was_left()
        else:
            sweep(self.path)
            events, drift = changes(self.path, self.holdings, self.state)
            if events:
                self.journal.append(events)
        for sentence in drift.sentences():
            self._say(sentence)
        return drift

    def _as_it_was_left(self) -> Drift:
        """How the data differ from what the journal says, which cannot be written to."""
        self._say(f"{self.path} cannot be written to: the campaign is shown in its last state")
        pool, source = self.state.pool, self.holdings.source
        if pool is not None and pool.fingerprint != source.identity:
            raise DataError(
                f"pool: {source.name} changed since {self.path} was last written to, and the "
                "change cannot be recorded. Copy the campaign to a writable place, or restore "
                "the earlier pool"
            )
        return Drift(
            removed=() if pool is None else pool.removed,
            tested=is_new(measure_event(self.holdings, self.state), self.state),
        )

    def record(
        self, votes: Iterable[Delivery], *, partial: bool = False, unsure: str | None = None
    ) -> Recorded:
        """Record labels, skips and withdrawals: all, or none of them.

        Any subset, in any order, repeatedly, from several people. `partial` records the valid ones.
        `unsure` is an annotator's name that was only guessed: their earlier labels are not changed.

        Raises:
            DataError: unknown ids, unknown classes, or one annotator with two labels for one item.
        """
        return self.desk.record(votes, partial=partial, unsure=unsure)

    def query(self, count: int, *, new: bool = False) -> Batch:
        """Choose the next `count` examples to label.

        The proxy is trained from scratch on the labels so far, and scores the pool. While fewer
        than two classes are labelled, typical and diverse examples are chosen. If nothing of the
        last batch is labelled yet, the same batch is returned; `new` chooses another.

        Raises:
            ParameterError: `count` is under 1, or more than the unlabelled examples.
            RunError: another process is choosing a batch.
        """
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ParameterError("count", f"got {count!r}", "Give a whole number, 1 or more")
        with self.journal.lock("planning a batch"):
            last = untouched(self.state)
            if last is not None and last.asked == count and not new:
                self._say(
                    "Nothing of the last batch is labelled or sent, so this is the same batch"
                )
                return Batch.of(last, again=True)
            with self._round() as this:
                planned, trained = this.plan(count)
            self.journal.append([planned] if trained is None else [planned, trained])
            searched = planned.facts["neighbours"]
            if why := planned.facts["auto"]:
                self._say(f"auto: {planned.method}: {why}")
            if self.config.balance and (words := said_of_balance(planned, self.state.classes)):
                self._say(words)
            discard_models(self.path, index=None if searched is None else searched["index"])
            if searched is not None:
                self._say(said_of_search(searched))
            if halves := planned.facts["halves"]:
                self._say(said_of_halves(halves))
        return Batch.of(planned)

    def measure(self) -> Mapping[str, Any] | None:
        """Train the proxy on the current labels, measure it, and record the result.

        None while fewer than two classes are labelled.
        """
        with self.journal.lock("measuring the proxy"):
            with self._round() as this:
                trained = this.measure()
            if trained is None:
                return None
            self.journal.append([trained])
        return trained.facts

    def reclassify(
        self, classes: Sequence[str], renamed: Mapping[str, str] | None = None
    ) -> Schema:
        """Change the classes: a new version of the schema, which also applies to older votes.

        `renamed` maps old names to new names. Votes for a removed class are
        kept in quarantine, and count again if the class comes back.
        """
        with self.journal.lock("changing the classes"):
            before, question = self.state.schema, self.state.question
            assert before is not None
            if not question.is_named:
                raise ParameterError(
                    "classes", "the numbers of a campaign cannot be changed", "Start another one"
                )
            for name in renamed or {}:
                if name not in before.classes:
                    raise unknown_name("renamed", name, before.classes)
            schema = Schema(
                version=before.version + 1,
                classes=tuple(check_names(classes, question)),
                renamed=renamed or {},
            )
            self.journal.append([schema])
        self.holdings = self.holdings.with_names(schema.classes)
        return schema

    def status(self, *, goal: float | None = None) -> Standing:
        """The state of the campaign; with `goal`, how many labels this score needs."""
        return standing(self.path, self.state, self.holdings, self.config, self.drift, goal)

    def export(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write the labelled examples and the origin of each label.

        Parquet, CSV or JSON lines by the suffix of `out`: `id`, `row`, the input, `label`,
        `copy_of`, `round`, `part`, `method`, `score`, `rank`, `annotators`, `votes`, `seconds`,
        `time`, and, depending on the data, `path`, `file`, `file_row` and `line`. Copies of a
        labelled input have its label, and its id in `copy_of`.

        Raises:
            RunError: `out` exists and `overwrite` is false, has another suffix, or is the data.
        """
        return write_labelled(self.state, self.holdings, Path(out), overwrite=overwrite)

    def _check_trusted(self) -> None:
        if self._untrusted:
            what = " and ".join(f"its {each} is '{n}'" for each, n in self._untrusted.items())
            line = " ".join(f"--{each} {n}" for each, n in self._untrusted.items())
            named = ", ".join(f"{each}={n!r}" for each, n in self._untrusted.items())
            raise RunError(
                f"campaign: {what}, which is code; a folder may not run code by itself. If you "
                f"trust it, add {line} to the command (Campaign.open(..., {named}))"
            )

    @contextmanager
    def _round(self) -> Generator[Round]:
        self._check_trusted()
        state = self.state
        if state.pool != self._pool:
            raise RunError("campaign: the pool changed since it was opened here. Open it again")
        with at_work(self.path, state, self.config.hardware, self._progress) as place:
            on_bad_row = self._reading.on_bad_row
            holdings = self.holdings.with_names(state.classes)
            if on_bad_row == "skip":
                holdings = holdings.readable()
            ground = Ground(holdings=holdings, state=state, config=self.config)
            yield Round(ground=ground, place=place, on_bad_row=on_bad_row)
