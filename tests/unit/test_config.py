"""Settings: their sources, their checks, their names of old and new."""

from __future__ import annotations

import re
import sys
import types
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import umbel
from umbel import Umbel
from umbel.config import Config
from umbel.errors import ConfigurationError, UmbelWarning, UnknownSetting
from umbel.settings import ACTING, OLD_NAMES, RECOGNISED, SETTINGS


def conf(**keywords: Any) -> Config:
    return Config(keywords, environ={})


# ------------------------------------------------------------------------------------------------- the table


def test_every_setting_of_celery_is_recognised() -> None:
    from celery.app.defaults import _OPTIONS

    assert set(_OPTIONS) - set(SETTINGS) == set()


def test_every_old_name_of_celery_is_translated() -> None:
    from celery.app.defaults import NAMESPACES, _to_compat, flatten

    wrong = {
        old: (OLD_NAMES.get(old), new)
        for old, new, _ in flatten(NAMESPACES, keyfilter=_to_compat)
        if OLD_NAMES.get(old) != new
    }
    assert wrong == {}


def test_defaults_are_those_of_celery_but_for_the_ones_that_differ_on_purpose() -> None:
    from celery.app.defaults import DEFAULTS

    def plain(value: Any) -> Any:
        if isinstance(value, timedelta):
            return value.total_seconds()
        return list(value) if isinstance(value, tuple) else value

    differing = {n for n, value in DEFAULTS.items() if plain(value) != SETTINGS[n].default}
    assert differing == {
        "task_acks_late",
        "task_reject_on_worker_lost",
        "worker_hijack_root_logger",
        "broker_connection_retry_on_startup",
        "broker_connection_max_retries",
    }


def test_umbel_obeys_what_it_says_it_obeys() -> None:
    """A setting in ACTING that no module reads would be a lie."""
    package = Path(umbel.__file__).parent
    source = "".join(p.read_text() for p in package.rglob("*.py") if p != package / "settings.py")
    assert [setting.name for setting in ACTING if not re.search(rf"\b{setting.name}\b", source)] == []


def test_no_setting_stands_in_both_tables_and_each_has_a_text() -> None:
    names = [setting.name for setting in (*ACTING, *RECOGNISED)]
    assert len(names) == len(set(names))
    assert all(setting.help.endswith(".") for setting in SETTINGS.values())


def test_every_default_passes_its_own_check() -> None:
    given = conf()
    for name, setting in SETTINGS.items():
        given[name] = setting.default
    given.check()


# ------------------------------------------------------------------------------------------------- reading


def test_attribute_item_and_get_read_the_same() -> None:
    given = conf(task_default_queue="mail")
    assert (
        given.task_default_queue == given["task_default_queue"] == given.get("task_default_queue") == "mail"
    )
    assert given.get("broker_url", "none") == "none"
    assert given.get("no_such", 3) == 3
    assert "task_routes" in given
    assert "CELERYD_CONCURRENCY" in given
    assert "nonsense" not in given
    assert len(list(given)) == len(given) == len(given.keys())


def test_unknown_names_name_the_nearest() -> None:
    given = conf()
    with pytest.raises(UnknownSetting, match=r"'task_serialiser'\. Did you mean 'task_serializer'"):
        given.task_serialiser = "json"
    with pytest.raises(UnknownSetting, match="Did you mean 'broker_url'"):
        _ = given.broker_ur
    with pytest.raises(KeyError, match="worker_lease"):
        given["worker_leas"]
    with pytest.raises(UnknownSetting, match="qqqqqq"):
        given.update(qqqqqq=1)
    assert not hasattr(given, "qqqqqq")


def test_an_old_name_reads_without_a_word_and_writes_with_one() -> None:
    given = conf()
    with pytest.warns(UmbelWarning, match="CELERYD_CONCURRENCY is called worker_concurrency today"):
        given.CELERYD_CONCURRENCY = 3
    with pytest.warns(UmbelWarning, match="broker_url today"):
        given.BROKER_URL = "redis://h"
    with pytest.warns(UmbelWarning, match="result_backend today"):
        given["CELERY_RESULT_BACKEND"] = "redis://h/1"
    assert (given.worker_concurrency, given.broker_url, given.result_backend) == (
        3,
        "redis://h",
        "redis://h/1",
    )
    assert given.CELERYD_CONCURRENCY == 3


def test_one_setting_under_two_names_must_have_one_value() -> None:
    given = conf()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UmbelWarning)
        given.update({"broker_url": "redis://a", "BROKER_URL": "redis://a"})
        with pytest.raises(ConfigurationError, match=r"broker_url and BROKER_URL.* different values"):
            given.update({"broker_url": "redis://a", "BROKER_URL": "redis://b"})


# -------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("result_expires", timedelta(hours=1), 3600.0),
        ("result_expires", 60, 60.0),
        ("result_expires", None, None),
        ("accept_content", ("json", "yaml"), ["json", "yaml"]),
        ("broker_url", ["redis://a", "redis://b"], "redis://a;redis://b"),
        ("worker_concurrency", "auto", "auto"),
        ("timezone", "Europe/Oslo", "Europe/Oslo"),
        ("task_default_priority", -100, -100),
        ("task_publish_retry_policy", {"max_retries": None}, {"max_retries": None}),
    ],
)
def test_values_are_kept_in_one_form(name: str, value: Any, kept: Any) -> None:
    given = conf()
    given[name] = value
    assert given[name] == kept


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("task_acks_late", "yes", "task_acks_late must be True or False, not str 'yes'"),
        ("task_max_deliveries", True, "task_max_deliveries must be a whole number, not bool True"),
        ("task_max_deliveries", 0, "task_max_deliveries must be at least 1"),
        ("result_expires", -1, "result_expires must be seconds or a timedelta, not negative, not int -1"),
        ("task_default_queue", None, "task_default_queue must be a string, not None"),
        ("accept_content", "json", "accept_content must be a list, not str 'json'"),
        ("worker_concurrency", 0, "worker_concurrency must be 'auto' or at least 1"),
        ("worker_pool", "fork", "worker_pool must be one of prefork"),
        ("task_protocol", 3, "task_protocol must be one of 1, 2"),
        ("timezone", "Oslo", "timezone must be a name such as Europe/Oslo"),
        ("task_default_priority", 101, "between -100 and 100"),
        ("task_publish_retry_policy", {"interval_max": "1"}, "task_publish_retry_policy must be a dict of"),
    ],
)
def test_a_wrong_value_says_what_was_expected_and_what_came(name: str, value: Any, message: str) -> None:
    given = conf()
    before = given[name]
    with pytest.raises(ConfigurationError) as caught:
        given[name] = value
    assert message in str(caught.value)
    assert given[name] == before


def test_a_secret_is_not_shown_in_the_error() -> None:
    with pytest.raises(ConfigurationError) as caught:
        conf(redis_password=17)
    assert "17" not in str(caught.value)


def test_update_changes_all_or_nothing() -> None:
    given = conf()
    with pytest.raises(ConfigurationError):
        given.update(task_default_queue="mail", task_protocol=9)
    assert given.task_default_queue == "celery"


def test_changing_a_default_in_place_changes_no_other_app() -> None:
    conf().task_publish_retry_policy["max_retries"] = 77
    assert conf().task_publish_retry_policy["max_retries"] == 3


def test_every_change_gives_a_new_version() -> None:
    given = conf()
    before = given.version
    given.task_default_queue = "mail"
    assert given.version > before


# -------------------------------------------------------------------------------------------------- sources


def test_sources_go_before_one_another_in_the_documented_order() -> None:
    given = Config(
        {"task_default_queue": "keyword", "task_serializer": "json", "timezone": "UTC"},
        environ={"UMBEL_TASK_DEFAULT_QUEUE": "environment", "UMBEL_TIMEZONE": "Europe/Oslo"},
    )
    given.load_object({"task_default_queue": "object", "task_serializer": "yaml", "task_protocol": 1})
    given.timezone = "Europe/Paris"
    assert given.task_default_queue == "environment"
    assert given.task_serializer == "json"
    assert given.task_protocol == 1
    assert given.timezone == "Europe/Paris"
    assert [
        given.source(n)
        for n in ("task_default_queue", "task_serializer", "task_protocol", "timezone", "include")
    ] == [
        "environment",
        "keyword",
        "config_from_object",
        "assignment",
        "default",
    ]
    assert set(given.table()) == {"task_default_queue", "task_serializer", "task_protocol", "timezone"}


def test_the_environment_is_read_as_people_write_it() -> None:
    given = Config(
        environ={
            "UMBEL_BROKER_URL": "redis://h:1/0",
            "UMBEL_TASK_ACKS_LATE": "no",
            "UMBEL_WORKER_CONCURRENCY": "8",
            "UMBEL_RESULT_EXPIRES": "60",
            "UMBEL_ACCEPT_CONTENT": "json, yaml",
            "UMBEL_INCLUDE": '["a.tasks", "b"]',
            "UMBEL_TASK_ROUTES": '{"mail.*": "mail"}',
            "UMBEL_RESULT_BACKEND": "",
            "UMBEL_SOMETHING_ELSE": "belongs to others",
            "HOME": "/",
        }
    )
    assert given.broker_url == "redis://h:1/0"
    assert given.task_acks_late is False
    assert given.worker_concurrency == 8
    assert given.result_expires == 60.0
    assert given.accept_content == ["json", "yaml"]
    assert given.include == ["a.tasks", "b"]
    assert given.task_routes == {"mail.*": "mail"}
    assert given.result_backend is None


def test_a_misspelt_setting_in_the_environment_is_warned_about() -> None:
    with pytest.warns(
        UmbelWarning, match=r"UMBEL_BROKER_UR is not a setting and is ignored.*Did you mean UMBEL_BROKER_URL"
    ):
        Config(environ={"UMBEL_BROKER_UR": "redis://h", "UMBEL_APP": "x"})


def test_a_wrong_value_in_the_environment_names_the_environment() -> None:
    with pytest.raises(ConfigurationError, match="the environment: worker_lease must be seconds"):
        Config(environ={"UMBEL_WORKER_LEASE": "long"})


def test_the_app_reads_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_TASK_DEFAULT_QUEUE", "from-outside")
    assert Umbel("x", set_as_current=False).conf.task_default_queue == "from-outside"


def test_an_object_a_class_and_a_module_give_settings() -> None:
    class Celery:
        broker_url = "redis://class"

        def helper(self) -> None: ...

    module = types.ModuleType("settings")
    module.__dict__.update(task_default_queue="q", os=sys, task_helper=lambda: 1, DEBUG=True, name="x")
    given = conf()
    given.load_object(Celery)
    given.load_object(module)
    assert (given.broker_url, given.task_default_queue) == ("redis://class", "q")


def test_a_misspelt_setting_in_an_object_is_an_error() -> None:
    class Celery:
        task_default_qeue = "q"

    with pytest.raises(UnknownSetting, match="task_default_queue"):
        conf().load_object(Celery)


def test_a_namespace_selects_and_old_names_work_in_it() -> None:
    source = types.SimpleNamespace(
        CELERY_BROKER_URL="redis://h",
        CELERY_TASK_TIME_LIMIT=30,
        CELERY_ALWAYS_EAGER=True,
        BROKER_URL="not meant",
        DEBUG=True,
    )
    given = conf()
    with pytest.warns(UmbelWarning, match="CELERY_ALWAYS_EAGER is called task_always_eager"):
        given.load_object(source, namespace="CELERY")
    assert (given.broker_url, given.task_time_limit, given.task_always_eager) == ("redis://h", 30.0, True)
    with pytest.raises(UnknownSetting, match="task_time_limit"):
        conf().load_object(types.SimpleNamespace(CELERY_TASK_TIME_LIMITS=3), namespace="CELERY")


@pytest.fixture
def config_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "plain_conf_for_umbel.py").write_text("broker_url = 'redis://module'\n")
    (tmp_path / "class_conf_for_umbel.py").write_text("class Dev:\n    broker_url = 'redis://class'\n")
    (tmp_path / "broken_conf_for_umbel.py").write_text("import no_such_module_at_all\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("config_modules")
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("plain_conf_for_umbel", "redis://module"),
        ("class_conf_for_umbel:Dev", "redis://class"),
        ("class_conf_for_umbel.Dev", "redis://class"),
    ],
)
def test_settings_come_from_a_module_by_name_when_first_needed(name: str, url: str) -> None:
    sys.modules.pop(name.partition(":")[0], None)
    given = conf()
    given.load_object(name)
    assert "plain_conf_for_umbel" not in sys.modules or name != "plain_conf_for_umbel"
    assert given.broker_url == url


@pytest.mark.usefixtures("config_modules")
def test_a_module_that_cannot_be_imported_fails_at_every_use() -> None:
    given = conf()
    given.load_object("broken_conf_for_umbel")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="no_such_module_at_all"):
            _ = given.broker_url


@pytest.mark.usefixtures("config_modules")
def test_config_from_envvar_names_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Umbel("x", set_as_current=False)
    with pytest.raises(ConfigurationError, match="MY_CONF is not set"):
        app.config_from_envvar("MY_CONF")
    monkeypatch.setenv("MY_CONF", "plain_conf_for_umbel")
    app.config_from_envvar("MY_CONF")
    assert app.conf.broker_url == "redis://module"


# ------------------------------------------------------------------------------------------- contradictions


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"task_soft_time_limit": 20, "task_time_limit": 10}, ("task_soft_time_limit", "task_time_limit")),
        ({"task_serializer": "pickle"}, ("task_serializer", "accept_content")),
        (
            {"result_serializer": "yaml", "result_accept_content": ["json"]},
            ("result_serializer", "result_accept_content"),
        ),
        ({"task_queues": ["a"], "task_create_missing_queues": False}, ("task_default_queue", "task_queues")),
    ],
)
def test_contradictions_name_both_settings(settings: dict[str, Any], names: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        conf(**settings).check()
    assert all(name in str(caught.value) for name in names)


def test_content_types_and_names_are_the_same_thing() -> None:
    conf(
        task_serializer="pickle", accept_content=["application/x-python-serialize", "application/json"]
    ).check()


def test_all_contradictions_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"task_time_limit.*accept_content"):
        conf(task_soft_time_limit=2, task_time_limit=1, task_serializer="yaml").check()


def test_inert_settings_are_listed() -> None:
    given = conf(worker_agent="x:Y", task_default_queue="q")
    assert given.inert() == ["worker_agent"]
