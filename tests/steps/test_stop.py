"""A process that is asked to end hears it once; the second time it ends as ever."""

from __future__ import annotations

import os
import signal

import pytest

from hounsfield.core.errors import Interrupted
from hounsfield.steps.stop import listening


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_sets_the_event_and_the_second_is_python_s_again(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with listening() as stop:
        assert not stop.event.is_set()
        os.kill(os.getpid(), number)
        assert stop.event.wait(5) and stop.asked == number.name
        assert signal.getsignal(number) is before
        with pytest.raises(Interrupted, match=number.name):
            stop.refuse_to_go_on("all is saved")
    assert signal.getsignal(number) is before
