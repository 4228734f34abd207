"""What a log is told of a phase that takes long."""

from __future__ import annotations

import pytest

from keepers.cli import progress


class Clock:
    """A clock that stands where it is put."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_the_time_left_of_a_resumed_phase_counts_its_own_steps_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    shown = progress.TerminalProgress()
    shown.start("proxy training", 1000)
    for second, done in ((0, 601), (20, 621), (40, 641), (80, 681)):  # resumed after 600 steps
        clock.now = 100.0 + second
        shown.advance(done)
    assert capsys.readouterr().err.splitlines() == [
        "proxy training: 641 of 1,000, 359 s left",
        "proxy training: 681 of 1,000, 319 s left",
    ]


def test_a_bar_of_a_resumed_phase_begins_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    shown = progress.TerminalProgress()
    shown.start("proxy training", 1000)
    shown.advance(601)
    clock.now += 2
    shown.advance(603)
    bar = shown._bar
    assert bar is not None
    assert bar.tasks[0].completed == 603
    assert bar.tasks[0].speed is None  # 603 steps were not done in this moment
    shown.finish()
