"""Configuration: where values come from, what is refused, and what the refusal says."""

from __future__ import annotations

import json
from typing import Annotated, get_args, get_origin, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr import config
from ctr.errors import SettingError, UnknownSettingError
from ctr.settings import Config, Kafka, Learner

SETTINGS = [
    (f"{section}.{name}", hint)
    for section, kind in get_type_hints(Config).items()
    for name, hint in get_type_hints(kind, include_extras=True).items()
]
NUMBERS = [(key, hint) for key, hint in SETTINGS if get_args(hint)[0] in (int, float)]


def load(overrides=None, environment=None, file=None):
    return config.load(file, environment or {}, overrides)


# ---- where values come from


def test_flags_win_over_environment_over_file(tmp_path):
    file = tmp_path / "ctr.toml"
    file.write_text("[learner]\nalpha = 0.2\nbeta = 2.0\nl1 = 3.0\n")
    environment = {"CTR_LEARNER__BETA": "4", "CTR_LEARNER__L1": "5", "PATH": "/bin"}
    learner = load({"learner.l1": 6}, environment, file).learner
    assert (learner.alpha, learner.beta, learner.l1) == (0.2, 4.0, 6.0)


def test_everything_has_a_default():
    assert load() == Config()


def test_lists_and_tables_in_the_environment_are_json():
    environment = {
        "CTR_FEATURES__CROSSES": '[["user", "ad"]]',
        "CTR_FEATURES__COLUMNS": '{"price": "linear"}',
        "CTR_FEATURES__COLUMNS__AGE": "log_bucket",
        "CTR_EVENTS__STOP_AT_END": "true",
    }
    result = load(environment=environment)
    assert result.features.crosses == [["user", "ad"]]
    assert result.features.columns == {"price": "linear", "age": "log_bucket"}
    assert result.events.stop_at_end is True


@pytest.mark.parametrize("password", ["[1]", '{"a": 1}', "123", "true", "null", "", " x "])
def test_a_password_is_the_text_that_was_given(password):
    assert load(environment={"CTR_KAFKA__SASL_PASSWORD": password}).kafka.sasl_password == password


def test_to_tree_and_back(tmp_path):
    given = load({"features.crosses": [["a", "b"]], "learner.alpha": 0.3})
    assert config.convert(json.loads(json.dumps(config.to_tree(given)))) == given


def test_a_section_alone():
    assert config.convert({"alpha": "0.5"}, Learner, "learner") == Learner(alpha=0.5)


def test_the_model_name_goes_into_topics():
    result = load({"model.name": "buys"})
    assert result.path(result.publish.topic) == "ctr.buys.model"


# ---- what is refused


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("learner.alpha", -0.1, "learner.alpha must be > 0; got -0.1"),
        ("learner.alpha", 1e7, "learner.alpha must be <= 1000000; got 10000000.0"),
        ("learner.alpha", float("nan"), "learner.alpha must be > 0; got nan"),
        ("learner.alpha", "fast", "learner.alpha must be a number; got 'fast'"),
        ("learner.alpha", True, "learner.alpha must be a number; got True"),
        ("learner.alpha", None, "learner.alpha must be a number; got None"),
        ("learner.alpha", [1], "learner.alpha must be a number; got [1]"),
        ("checkpoint.keep", 2.5, "checkpoint.keep must be a whole number; got 2.5"),
        ("checkpoint.keep", 0, "checkpoint.keep must be >= 1; got 0"),
        ("events.topic", 7, "events.topic must be a string; got 7"),
        ("events.stop_at_end", "maybe", "events.stop_at_end must be true or false; got 'maybe'"),
        (
            "events.source",
            "rabbit",
            "events.source must be one of 'kafka', 'directory'; got 'rabbit'",
        ),
        ("model.name", "a b", "model.name must be 1 to 64 letters, digits, '_' or '-'; got 'a b'"),
        ("model.name", "a\n", "model.name must be 1 to 64 letters, digits, '_' or '-'; got 'a\\n'"),
        (
            "features.columns",
            {"age": "linear", "price": "cubic"},
            "features.columns.price must be one of 'categorical', 'log_bucket', 'linear'; "
            "got 'cubic'",
        ),
        ("features.columns", [], 'features.columns must be a table, as {"a": "b"}; got []'),
        ("features.include", 7, 'features.include must be a list, as ["a", "b"]; got 7'),
        ("features.crosses", [["a", 1]], "features.crosses[0][1] must be a string; got 1"),
        (
            "features.time_features",
            ["hour", "week"],
            "features.time_features[1] must be one of 'hour', 'dow'; got 'week'",
        ),
        (
            "features.hash_seed",
            2**63,
            "features.hash_seed must be <= 9223372036854775807; got 9223372036854775808",
        ),
        ("learner", 3, "learner must be a section; got 3"),
    ],
)
def test_the_error_names_key_value_and_what_it_must_be(key, value, message):
    with pytest.raises(SettingError) as caught:
        load({key: value})
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("learner.alhpa", "learner.alhpa is not a setting; did you mean 'alpha'?"),
        ("lerner.alpha", "lerner is not a setting; did you mean 'learner'?"),
        ("zzz", "zzz is not a setting; known here: checkpoint, dead_letters,"),
        ("kafka.", "kafka. is not a setting; known here: bootstrap_servers,"),
    ],
)
def test_unknown_keys_are_errors(key, start):
    with pytest.raises(UnknownSettingError) as caught:
        load({key: 1})
    assert str(caught.value).startswith(start)


def test_a_key_inside_a_value_that_is_no_section():
    with pytest.raises(SettingError, match=r"^learner\.alpha must be a section; got 1$"):
        load({"learner.alpha": 1, "learner.alpha.x": 2})


@pytest.mark.parametrize(("key", "hint"), NUMBERS)
def test_every_number_is_bounded_as_it_says(key, hint):
    kind, *metas = get_args(hint)
    beyond = {
        bound: getattr(meta, bound) + step
        for meta in metas
        for bound, step in (("gt", 0), ("ge", -1), ("le", 1e300 if kind is float else 1))
        if getattr(meta, bound) is not None
    }
    assert beyond, "a number without any bound"
    for bound, value in beyond.items():
        sign = {"gt": "> ", "ge": ">= ", "le": "<= "}[bound]
        with pytest.raises(SettingError) as caught:
            load({key: value})
        assert str(caught.value).startswith(f"{key} must be {sign}")
    with pytest.raises(SettingError):
        load({key: float("nan")})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.sampled_from([key for key, _ in SETTINGS]), JSON)
def test_any_value_is_taken_or_refused_by_its_name(key, value):
    try:
        result = load({key: value})
    except SettingError as error:
        refused = error
    else:
        assert config.convert(config.to_tree(result)) == result
        return
    # a rule between two settings may name the other one
    assert refused.key.startswith(key.split(".")[0]) or key in str(refused)


@pytest.mark.parametrize("content", [b"alpha = ", b"\xff\xfe", b"[learner]\nalpha=1\nalpha=2\n"])
def test_a_file_that_is_not_toml(tmp_path, content):
    file = tmp_path / "ctr.toml"
    file.write_bytes(content)
    with pytest.raises(SettingError, match=r"^--config must be a TOML file \(.*\); got '"):
        load(file=file)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SettingError, match=r"a readable file \(No such file or directory\)"):
        load(file=tmp_path / "ctr.toml")


# ---- settings that contradict each other

SASL = {
    "kafka.security_protocol": "SASL_SSL",
    "kafka.sasl_mechanism": "PLAIN",
    "kafka.sasl_username": "ctr",
    "kafka.sasl_password": "hunter2",
}


@pytest.mark.parametrize(
    "overrides",
    [
        SASL,
        SASL | {"kafka.sasl_password": "", "kafka.sasl_password_file": "f"},
        {"publish.to": "kafka", "events.source": "directory", "events.directory": "events"},
        {"kafka.security_protocol": "SSL", "kafka.ssl_cafile": "ca.pem"},
        # the same topic, but one of the two is not used
        {"events.topic": "a", "publish.topic": "a", "publish.to": "directory"},
        {"prediction_log.topic": "ctr.{model}.model"},
    ],
)
def test_settings_that_agree(overrides):
    load(overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"events.source": "directory"},
            "events.directory must be the name of a directory; got ''",
        ),
        (
            {"gate.min_calibration": 1.25},
            "gate.min_calibration must be < gate.max_calibration (1.25); got 1.25",
        ),
        (
            {k: v for k, v in SASL.items() if k != "kafka.sasl_username"},
            "kafka.sasl_username must be given with kafka.sasl_mechanism; got ''",
        ),
        (
            {k: v for k, v in SASL.items() if k != "kafka.sasl_password"},
            "kafka.sasl_password_file must be given (or kafka.sasl_password) with "
            "kafka.sasl_mechanism; got ''",
        ),
        (
            SASL | {"kafka.sasl_password_file": "file"},
            "kafka.sasl_password must be empty when kafka.sasl_password_file is given; got '***'",
        ),
        (
            SASL | {"kafka.security_protocol": "SSL"},
            "kafka.security_protocol must be 'SASL_SSL' or 'SASL_PLAINTEXT' when "
            "kafka.sasl_mechanism is given; got 'SSL'",
        ),
        (
            {"kafka.security_protocol": "SASL_PLAINTEXT"},
            "kafka.sasl_mechanism must be given with the protocol SASL_PLAINTEXT; got ''",
        ),
        (
            {"kafka.ssl_cafile": "ca.pem"},
            "kafka.security_protocol must be 'SSL' or 'SASL_SSL' when kafka.ssl_cafile is given; "
            "got 'PLAINTEXT'",
        ),
        (
            {"kafka.ssl_keyfile": "key.pem", "kafka.security_protocol": "SSL"},
            "kafka.ssl_certfile must be given with kafka.ssl_keyfile; got ''",
        ),
        (
            {"events.topic": "a b"},
            "events.topic must be a topic name: 1 to 249 letters, digits, '.', '_' or '-'; "
            "got 'a b'",
        ),
        (
            {"events.topic": ".."},
            "events.topic must be a topic name: 1 to 249 letters, digits, '.', '_' or '-'; "
            "got '..'",
        ),
        (
            {"events.topic": "ctr.clicks.model"},
            "publish.topic must be another topic than events.topic; got 'ctr.{model}.model'",
        ),
        (
            {"dead_letters.topic": "events"},
            "dead_letters.topic must be another topic than events.topic; got 'events'",
        ),
        (
            {"prediction_log.sample": 0.1, "prediction_log.topic": "ctr.{model}.model"},
            "prediction_log.topic must be another topic than publish.topic; "
            "got 'ctr.{model}.model'",
        ),
        (
            {"checkpoint.directory": ""},
            "checkpoint.directory must be the name of a directory; got ''",
        ),
        (
            {
                "events.source": "directory",
                "events.directory": "log",
                "dead_letters.to": "directory",
                "dead_letters.directory": "log/",
            },
            "dead_letters.directory must be another directory than events.directory; got 'log/'",
        ),
        (
            {"kafka.bootstrap_servers": " ,"},
            "kafka.bootstrap_servers must be host:port, or several separated by commas; got ' ,'",
        ),
    ],
)
def test_settings_that_contradict_each_other(overrides, message):
    with pytest.raises(SettingError) as caught:
        load(overrides)
    assert str(caught.value) == message


# ---- secrets


def test_a_secret_is_masked_wherever_it_is_shown():
    secret = load(SASL)
    assert "hunter2" not in repr(secret)
    assert "sasl_password='***'" in repr(secret.kafka)
    assert "hunter2" not in json.dumps(config.masked(secret))
    assert config.to_tree(secret)["kafka"]["sasl_password"] == "hunter2"
    assert config.masked(Config()) == config.to_tree(Config())


@pytest.mark.parametrize("wrong", [4711, [4711], {"a": 4711}])
def test_a_secret_is_masked_in_errors(wrong):
    with pytest.raises(SettingError) as caught:
        load({"kafka.sasl_password": wrong})
    assert str(caught.value) == "kafka.sasl_password must be a string; got '***'"
    assert "4711" not in str(caught.value)


def test_what_is_called_password_is_a_secret():
    """A field added later is not forgotten: passwords are secret or are the names of files."""
    for key, hint in SETTINGS:
        if "password" in key and not key.endswith("_file"):
            assert get_origin(hint) is Annotated
            assert any(meta.extra == {"secret": True} for meta in get_args(hint)[1:]), key


def test_the_repr_of_kafka_shows_all_else():
    shown = repr(Kafka(client_id="me"))
    assert all(f"{name}=" in shown for name in Kafka.__struct_fields__)
    assert "client_id='me'" in shown


def test_settings_cannot_change():
    with pytest.raises(AttributeError):
        Config().learner.alpha = 1.0
    assert issubclass(Config, msgspec.Struct)
