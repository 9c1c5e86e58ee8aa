"""The errors: what they say and what they are."""

from __future__ import annotations

import pytest

from ctr import errors
from ctr.errors import CtrError, SettingError, UnknownSettingError

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", ALL)
def test_one_base(kind):
    assert issubclass(kind, CtrError)
    assert kind.__doc__


def test_setting_error_keeps_its_parts():
    error = SettingError("learner.alpha", -0.1, "> 0")
    assert (error.key, error.got, error.wanted) == ("learner.alpha", -0.1, "> 0")
    assert isinstance(error, ValueError)


def test_a_long_value_is_cut():
    message = str(SettingError("events.skip", "x" * 5000, "a list"))
    assert message.startswith("events.skip must be a list; got 'xxx")
    assert message.endswith("… (5,002 characters)")
    assert len(message) < 300


def test_a_misspelt_key_gets_a_suggestion():
    message = str(UnknownSettingError("gate.windwo", ["enabled", "window"]))
    assert message == (
        "gate.windwo is not a setting; did you mean 'window'? known here: enabled, window"
    )


def test_a_key_like_no_other_gets_the_list():
    message = str(UnknownSettingError("gate.zzz", ["enabled", "window"]))
    assert message == "gate.zzz is not a setting; known here: enabled, window"
