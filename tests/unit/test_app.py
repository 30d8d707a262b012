"""Apps: declaring tasks, their names, the registry, shared tasks, discovery, connections."""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import sys
import threading
import types
from pathlib import Path
from typing import Any

import pytest

import umbel
from umbel import Task, Umbel, context, current_app, current_task, shared_task
from umbel.connections import broker_options, store_options
from umbel.errors import ConfigurationError, NoResultStore, NotRegistered, UmbelWarning
from umbel.task import setting_of

from .conftest import MakeApp

# ---------------------------------------------------------------------------------------------- declaration


def test_a_task_is_named_after_its_module_and_function(app: Umbel) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        "Adds."
        return x + y

    assert add.name == f"{__name__}.add"
    assert app.tasks[add.name] is add
    assert add(1, 2) == 3
    assert add.__doc__ == "Adds."
    assert add.__wrapped__(1, 2) == 3  # type: ignore[attr-defined]
    assert repr(add) == f"<@task: {add.name}>"


def test_a_task_of_a_script_is_named_after_the_app(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add() -> None: ...

    add.__module__ = "__main__"
    assert make_app("shop").task(add).name == "shop.add"
    monkeypatch.setitem(sys.modules, "__main__", types.SimpleNamespace(__file__="/srv/jobs.py"))  # type: ignore[misc]
    assert Umbel(set_as_current=False, broker="memory://").task(add).name == "jobs.add"


def test_options_become_attributes_and_none_leaves_it_to_the_settings(make_app: MakeApp) -> None:
    app = make_app(task_time_limit=7, task_max_deliveries=5)

    @app.task(name="slow", time_limit=30, queue="slow", priority=-5, acks_late=False)
    def slow() -> None: ...

    @app.task
    def plain() -> None: ...

    assert (slow.time_limit, slow.queue, slow.priority, slow.acks_late) == (30, "slow", -5, False)
    assert [setting_of(slow, o) for o in ("time_limit", "acks_late", "max_deliveries")] == [30, False, 5]
    assert [setting_of(plain, o) for o in ("time_limit", "acks_late", "soft_time_limit")] == [7.0, True, None]
    assert setting_of(plain, "max_retries") == 3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_retry": 3}, TypeError, "has no option 'max_retry'. Did you mean 'max_retries'?"),
        ({"delay": 3}, TypeError, "has no option 'delay'"),
        ({"priority": 500}, ConfigurationError, "priority must be a whole number from -100 to 100"),
        ({"soft_time_limit": 9, "time_limit": 5}, ConfigurationError, "must not be longer than time_limit"),
        ({"time_limit": 0}, ConfigurationError, "above 0"),
        ({"autoretry_for": ("OSError",)}, ConfigurationError, "must hold exception classes, not 'OSError'"),
        ({"max_retries": -1}, ConfigurationError, "max_retries must be 0 or more"),
    ],
)
def test_a_wrong_option_is_an_error_at_the_declaration(
    app: Umbel, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        app.task(**options)(lambda: None)
    assert message in str(caught.value)


def test_a_base_class_may_bring_options_of_its_own(app: Umbel) -> None:
    class WithTenant(Task[..., Any]):
        tenant: str = "none"

    @app.task(base=WithTenant, tenant="acme")  # type: ignore[call-overload]
    def report() -> None: ...

    assert report.tenant == "acme"
    assert isinstance(report, WithTenant)


def test_a_class_based_task_is_registered_as_an_instance(app: Umbel) -> None:
    bound = []

    class Adder(Task[[int, int], int]):
        def run(self, x: int, y: int) -> int:
            return x + y + (0 if self.request.called_directly else 100)

        def on_bound(self, app: Umbel) -> None:
            bound.append(app)

    adder = app.register_task(Adder())
    assert adder.name == f"{__name__}.Adder"
    assert adder(1, 2) == 3
    assert adder.apply((1, 2)).get() == 103
    assert bound == [app]
    with pytest.raises(ConfigurationError, match=r"Empty has no run\(\) method"):
        app.register_task(type("Empty", (Task,), {})())


def test_bind_gives_the_task_as_the_first_argument(app: Umbel) -> None:
    @app.task(bind=True)
    def who(self: Task[..., Any], x: int) -> tuple[str, int]:
        return self.name, x

    assert who(3) == (who.name, 3)
    with pytest.raises(TypeError, match=r"who\(x: int\).*missing a required argument: 'x'"):
        who.delay()  # type: ignore[call-arg]


def test_bind_needs_a_first_argument(app: Umbel) -> None:
    with pytest.raises(ConfigurationError, match="takes no first argument"):
        app.task(bind=True, name="t")(lambda: None)  # type: ignore[misc,arg-type]


def test_any_callable_can_be_a_task(app: Umbel) -> None:
    half = app.task(name="half")(functools.partial(divmod, 9))
    assert half(4) == (2, 1)
    assert half.apply((4,)).get() == (2, 1)
    assert app.task(name="max")(max).delay(1, 2).known()


def test_the_app_may_give_its_tasks_a_class(make_app: MakeApp) -> None:
    class Mine(Task[..., Any]):
        pass

    app = make_app(task_cls=Mine)
    assert isinstance(app.task(lambda: None), Mine)
    assert app.Task is Mine


def test_an_unknown_name_is_told_with_the_nearest(app: Umbel) -> None:
    app.task(name="mail.send")(lambda: None)
    with pytest.raises(NotRegistered, match=r"no task 'mail.sent'. Did you mean 'mail.send'\?"):
        app.tasks["mail.sent"]
    assert app.tasks.get("mail.sent") is None
    assert "mail.sent" not in app.tasks
    assert list(app.tasks) == ["mail.send"]
    assert len(app.tasks) == 1


def test_two_functions_of_one_name_are_warned_about_and_a_reload_is_not(app: Umbel) -> None:
    def one() -> None: ...
    def two() -> None: ...

    app.task(name="same")(one)
    app.task(name="same")(one)
    with pytest.warns(UmbelWarning, match=r"Two tasks are called 'same': .*one and .*two"):
        app.task(name="same")(two)


def test_a_task_is_pickled_by_its_name(make_app: MakeApp) -> None:
    app = make_app(set_as_current=True)
    task = app.task(name="pickled")(lambda: None)
    assert pickle.loads(pickle.dumps(task)) is task


# ------------------------------------------------------------------------------------------- current, shared


def test_without_an_app_the_current_one_is_an_error_that_helps() -> None:
    with pytest.raises(ConfigurationError, match=r'app = Umbel\("name"\)'):
        _ = current_app.conf


def test_the_last_app_is_current_everywhere_and_one_may_be_current_here(make_app: MakeApp) -> None:
    first = make_app("first", set_as_current=True)
    second = make_app("second", set_as_current=True)
    make_app("third")
    assert current_app == second
    seen: list[str] = []

    def elsewhere() -> None:
        seen.append(current_app.main or "")
        first.set_current()
        seen.append(current_app.main or "")

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == ["second", "first"]
    assert current_app.main == "second"


def test_a_shared_task_belongs_to_every_app(make_app: MakeApp) -> None:
    early = make_app("early", set_as_current=True)

    @shared_task
    def ping(x: int) -> int:
        return x

    @shared_task(bind=True, name="shared.named", max_retries=9)
    def named(self: Task[..., Any]) -> str | None:
        return self.app.main

    assert ping(3) == 3
    late = make_app("late")
    for app in (early, late):
        assert ping.name in app.tasks
        assert app.tasks["shared.named"].max_retries == 9
        assert app.tasks["shared.named"]() == app.main
    assert named() == "early"
    late.set_default()
    assert named() == "late"
    assert isinstance(ping, Task)
    assert late.tasks[ping.name].app is late


def test_current_task_is_the_one_that_runs(app: Umbel) -> None:
    @app.task
    def look() -> str:
        assert current_task
        return current_task.name

    assert not current_task
    assert look() == look.name
    assert app.current_task is None


# ------------------------------------------------------------------------------------------------ discovery


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with tasks, one without, one whose tasks are broken. Returns a prefix of their names."""
    prefix = f"disc_{os.getpid()}_{tmp_path.name}".replace("-", "_")
    for name, tasks in (
        ("good", "LOADED = True\n"),
        ("bare", None),
        ("broken", "import no_such_thing_here\n"),
    ):
        package = tmp_path / f"{prefix}_{name}"
        package.mkdir()
        (package / "__init__.py").write_text("")
        if tasks is not None:
            (package / "tasks.py").write_text(tasks)
    monkeypatch.syspath_prepend(str(tmp_path))
    return prefix


def test_tasks_are_discovered_when_the_app_is_finalized(app: Umbel, packages: str) -> None:
    app.autodiscover_tasks([f"{packages}_good", f"{packages}_bare"])
    assert f"{packages}_good.tasks" not in sys.modules
    app.finalize()
    assert f"{packages}_good.tasks" in sys.modules


def test_a_broken_module_is_not_swallowed(app: Umbel, packages: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_thing_here"):
        app.autodiscover_tasks(lambda: [f"{packages}_broken"], force=True)
    with pytest.raises(ModuleNotFoundError, match=f"{packages}_absent"):
        app.autodiscover_tasks([f"{packages}_absent"], force=True)


def test_without_packages_there_must_be_somebody_who_knows_them(
    app: Umbel, packages: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="Name the packages"):
        app.autodiscover_tasks(force=True)
    framework = types.SimpleNamespace(packages=lambda: [f"{packages}_good"])
    monkeypatch.setattr(context.state, "integration", framework)
    app.autodiscover_tasks(force=True)
    assert f"{packages}_good.tasks" in sys.modules


def test_tasks_that_stayed_with_celery_are_named(
    app: Umbel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halfway").mkdir()
    (tmp_path / "halfway" / "__init__.py").touch()
    (tmp_path / "halfway" / "tasks.py").write_text(
        "from celery import shared_task\n\n@shared_task\ndef forgotten():\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(UmbelWarning, match=r"halfway\.tasks has tasks of Celery's.*: forgotten\."):
        app.autodiscover_tasks(["halfway"], force=True)


def test_include_and_imports_are_imported(make_app: MakeApp, packages: str) -> None:
    make_app(include=[f"{packages}_good.tasks"]).finalize()
    assert f"{packages}_good.tasks" in sys.modules


# ---------------------------------------------------------------------------------------- broker and results


def test_nothing_set_means_one_file_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_HOME", str(tmp_path / "home"))
    with Umbel("x", set_as_current=False) as app:
        assert app.broker_url == app.result_url == f"sqlite:///{tmp_path}/home/umbel.db"
        assert app.send_task("t").known()
        assert (tmp_path / "home" / "umbel.db").exists()


def test_the_embedded_file_lies_in_the_project_of_the_module_that_makes_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UMBEL_HOME", raising=False)
    (tmp_path / "pyproject.toml").write_text("")
    package = tmp_path / "src" / "shop_of_the_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from umbel import Umbel\napp = Umbel('x', set_as_current=False)\n")
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    module: Any = importlib.import_module("shop_of_the_test")
    assert module.app.broker_url == f"sqlite:///{tmp_path}/.umbel/queue.db"


def test_settings_of_the_connection_reach_the_backend(make_app: MakeApp) -> None:
    app = make_app(
        broker="rediss://h/0",
        backend="redis://h/1",
        broker_use_ssl={"ssl_cert_reqs": "none"},
        broker_connection_timeout=2,
        broker_transport_options={"global_keyprefix": "p:"},
        redis_socket_timeout=3,
    )
    assert broker_options(app) == {
        "ssl": {"ssl_cert_reqs": "none"},
        "socket_connect_timeout": 2.0,
        "global_keyprefix": "p:",
    }
    assert store_options(app) == {"socket_timeout": 3.0}
    assert broker_options(make_app(broker_use_ssl=True)) == {}
    assert app.new_broker() is not app.new_broker()
    assert make_app(backend=None).new_store() is None


def test_a_broker_alone_keeps_no_results_and_says_what_to_set() -> None:
    app = Umbel("x", broker="memory://alone", set_as_current=False)
    assert app.result_url is None
    assert not app.has_store
    with pytest.raises(NoResultStore, match=r"app.conf.result_backend = 'memory://alone'"):
        _ = app.store
    with pytest.raises(NoResultStore, match="result_backend"):
        app.AsyncResult("some-id").get(timeout=0)


def test_no_password_in_the_advice() -> None:
    app = Umbel("x", broker="redis://:secret@h/0", set_as_current=False)
    with pytest.raises(NoResultStore) as caught:
        _ = app.store
    assert "secret" not in str(caught.value)


def test_connections_are_kept_until_their_url_changes(make_app: MakeApp) -> None:
    app = make_app()
    broker = app.broker
    assert app.broker is broker
    app.conf.task_default_queue = "other"
    assert app.broker is broker
    app.conf.broker_url = "memory://another"
    assert app.broker is not broker


def test_an_unknown_scheme_is_an_error_that_names_the_known_ones() -> None:
    app = Umbel("x", broker="amqq://h", set_as_current=False)
    with pytest.raises(ConfigurationError, match="'amqq'"):
        _ = app.broker


def test_a_closed_app_opens_again(make_app: MakeApp) -> None:
    with make_app() as app:
        first = app.broker
    assert app.broker is not first


def test_the_clock_of_the_app_is_in_its_zone(make_app: MakeApp) -> None:
    assert str(make_app().now().tzinfo) == "UTC"
    assert str(make_app(timezone="Europe/Oslo").now().tzinfo) == "Europe/Oslo"


# --------------------------------------------------------------------------------------------------- import


def test_import_umbel_is_quick_and_brings_no_driver() -> None:
    import subprocess

    code = (
        "import sys, umbel; early = set(sys.modules); from umbel import Umbel; app = Umbel('x', broker='redis://nowhere'); "
        "app.task(lambda: 1); "
        "print(' '.join(sorted({'redis', 'apsw', 'yaml', 'msgpack', 'zstandard', 'brotli', 'click', 'sqlite3', 'uvloop'} "
        "& set(sys.modules))), '|', ' '.join(sorted({'asyncio', 'msgspec'} & early)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "|"


def test_every_public_name_is_there() -> None:
    for name in umbel.__all__:
        assert getattr(umbel, name) is not None
    assert set(umbel.__all__) <= set(dir(umbel))
    with pytest.raises(AttributeError, match="Umbell"):
        _ = umbel.Umbell  # type: ignore[attr-defined]
