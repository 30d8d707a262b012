"""``umbel migrate check``: each rule with its file and line, projects that are clean or broken, and files of any content."""

from __future__ import annotations

import json
import os
import re
import string
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import umbel
from umbel.cli import main
from umbel.cli.exits import ABSENT, FAILED, OK, USAGE
from umbel.cli.findings import Severity
from umbel.cli.worker import celerys_options
from umbel.contrib.celery.checker import check
from umbel.contrib.celery.checker.rules import ACTING_ANYWAY, INERT_SETTINGS, RULES, TASK_INERT
from umbel.contrib.celery.checker.shim import Shim
from umbel.settings import RECOGNISED, SETTINGS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "celery_project"

APP = """\
from celery import Celery, shared_task, chord, group
app = Celery("proj", broker="redis://", backend="redis://")
app.conf.task_acks_late = True
"""


def write(folder: Path, **files: str) -> Path:
    """Files by name, with ``__`` for a slash and ``_dot_`` for a dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def found(*roots: Path) -> list[tuple[str, int, str]]:
    return [(Path(f.file).name, f.line, f.rule) for f in check(roots).findings]


def in_app(folder: Path, text: str) -> list[tuple[int, str]]:
    """What is found in `text`, which follows on APP; its first line is 1."""
    write(folder, proj_dot_py=APP + text)
    before = APP.count("\n")
    return [(line - before, rule) for _, line, rule in found(folder)]


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(main, ["migrate", "check", *map(str, args)])


# -- the app, tasks and results


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from celery import nothing_such\n", [(1, "import-name")]),
        ("import celery.nothing_such\n", [(1, "import-module")]),
        ("from celery.worker.nothing_such import Request\n", [(1, "import-module")]),
        ("import celery\n\nceleryx = celery.nothing_such\n", [(3, "import-name")]),
        ("from kombu import (\n    Queue,\n    NothingSuch,\n)\n", [(3, "import-name")]),
        ("try:\n    import celery.nothing_such\nexcept ImportError:\n    pass\n", []),
        ("if TYPE_CHECKING:\n    from celery.worker import X\n", []),
        ("import django_celery_beat\n", [(1, "package")]),
        ("import gevent.monkey\ngevent.monkey.patch_all()\n", [(2, "monkey-patching")]),
        ("from eventlet import monkey_patch\nmonkey_patch()\n", [(2, "monkey-patching")]),
        ("app.setup_security()\n", [(1, "app-attribute")]),
        ("app.backend.client.get('x')\n", [(1, "part-attribute")]),
        ("app.backend.get_task_meta('x'); app.backend.app\n", []),
        ("app.control.nothing_such()\n", [(1, "part-attribute")]),
        ("b = Celery('x', loader='l')\n", [(1, "app-part")]),
        ("@app.task(Strategy=x)\ndef f(): pass\n", [(1, "custom-request")]),
        ("@app.task(\n    backend=x,\n)\ndef f(): pass\n", [(2, "task-backend")]),
        ("@app.task(bind=True)\ndef f(self):\n    self.backend.x()\n", [(3, "task-backend")]),
        ("class T(app.Task):\n    Request = R\n", [(2, "custom-request")]),
        ("@shared_task(max_retry=3)\ndef f(): pass\n", [(1, "task-option-misspelt")]),
        ("@shared_task(owner='x')\ndef f(): pass\n", [(1, "task-option-unknown")]),
        ("@app.task(serializer='pickle')\ndef f(): pass\n", [(1, "pickle")]),
        (
            "@app.task(base=B, autoretry_for=(E,), retry_backoff=True, acks_late=True, bind=True)\ndef f(self): pass\n",
            [],
        ),
        ("f.apply_async(countdown=3, delivery_mode=1)\n", [(1, "call-option")]),
        ("pool.apply_async(f, callback=print)\n", []),
        ("@app.task\ndef f():\n    return g.delay().get()\n", [(3, "wait-in-task")]),
        ("@app.task\ndef f():\n    r = g.delay()\n    r.get()\n", [(4, "wait-in-task")]),
        (
            "@app.task\ndef f():\n    g.delay().get(disable_sync_subtasks=False)\n",
            [(3, "wait-in-task-forced")],
        ),
        ("@app.task\ndef f():\n    return {}.get('x')\n", []),
        ("g.delay().get(on_message=print)\n", [(1, "result-callbacks")]),
        ("chord([])(x)\n", []),
    ],
)
def test_what_a_program_does(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    assert in_app(tmp_path, text) == expected


def test_rate_limits_that_do_not_act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.contrib.celery.checker.usage.is_inert", lambda name: True)
    assert in_app(tmp_path, "@app.task(rate_limit='1/s')\ndef f(): pass\n") == [(1, "rate-limit")]
    monkeypatch.setattr("umbel.contrib.celery.checker.usage.is_inert", lambda name: False)
    assert in_app(tmp_path, "@app.task(rate_limit='1/s')\ndef f(): pass\n") == []


def test_signals_that_are_never_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shim, "unsent_signals", lambda self: frozenset({"task_received"}))
    text = "from celery.signals import task_prerun, task_received\nfrom celery import signals\nsignals.task_received.connect(f)\n"
    assert in_app(tmp_path, text) == [(1, "signal-unsent"), (3, "signal-unsent")]


def test_commands_that_workers_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umbel.contrib.celery.checker.usage.refused_commands", lambda: {"autoscale": "why"})
    text = "app.control.autoscale()\napp.control.broadcast('autoscale')\napp.control.ping()\n"
    assert in_app(tmp_path, text) == [(1, "control-command"), (2, "control-command")]


# -- settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app.conf.broker_url = 'sqs://'\n", [(1, "broker")]),
        ("app.conf.broker_url = f'kafka://{host}'\n", [(1, "broker")]),
        ("app.conf.broker_url = os.environ.get('X', 'sqs://')\n", [(1, "broker")]),
        ("app.conf.broker_url = os.environ['sqs://']\n", []),
        ("URL = 'sqs://'\napp.conf.broker_url = URL\n", [(1, "broker")]),
        ("app.conf.broker_url = 'redis://a;sqs://b'\n", [(1, "broker")]),
        ("app.conf.broker_url = 'sentinel://a;rediss://b'\n", []),
        ("app.conf['result_backend'] = 'mongodb://u:p@x'\n", [(1, "result-backend")]),
        ("app.conf.result_backend = 'rpc'\n", [(1, "result-backend")]),
        ("app.conf.result_backend = 'django-db'\n", []),
        ("app.conf.update(\n    worker_prefetch_multiplier=1,\n)\n", [(2, "prefetch")]),
        ("app.conf.update({'worker_pool': 'nothing'})\n", [(1, "pool")]),
        ("app.conf.worker_pool = 'threads'\n", []),
        ("app.conf.accept_content = ['json', 'pickle']\n", [(1, "pickle")]),
        ("app.conf.event_serializer = 'auth'\n", [(1, "signed-messages"), (1, "setting-inert")]),
        ("app.conf.security_key = 'x'\n", [(1, "signed-messages")]),
        ("app.conf.worker_consumer = 'x:Y'\n", [(1, "custom-worker-class")]),
        ("app.conf.worker_direct = True\n", [(1, "worker-setting")]),
        ("app.conf.worker_direct = False\n", []),
        ("app.conf.worker_lost_wait = 3\n", [(1, "setting-inert")]),
        ("app.conf.task_annotations = {'*': {}}\n", []),
        ("app.conf.broker_transport_options = {'visibility_timeout': 3}\n", [(1, "visibility-timeout")]),
        ("app.conf.broker_transport_options['visibility_timeout'] = 3\n", [(1, "visibility-timeout")]),
        ("app.conf.broker_transport_options = {'nothing_such': 3}\n", [(1, "transport-options")]),
        ("app.conf.broker_host = 'x'\n", [(1, "old-broker-parts")]),
        ("app.conf.task_time_limt = 3\n", [(1, "setting-misspelt")]),
        ("app.conf.update(sparkle=3)\n", [(1, "setting-unknown")]),
        ("app.conf.CELERYD_CONCURRENCY = 3\n", [(1, "setting-old-name")]),
        ("app.conf.task_time_limit = 'soon'\n", [(1, "setting-value")]),
        ("app.conf.update(task_soft_time_limit=9,\n task_time_limit=3)\n", [(2, "setting-contradiction")]),
        ("app.conf.update(task_soft_time_limit=9, task_time_limit=x)\n", []),
    ],
)
def test_settings_on_the_app(tmp_path: Path, text: str, expected: list[tuple[int, str]]) -> None:
    assert in_app(tmp_path, text) == expected


def test_settings_in_a_module_a_class_and_a_dict(tmp_path: Path) -> None:
    write(
        tmp_path,
        proj__celery_dot_py=(
            "from celery import Celery\nfrom . import other\n"
            "app = Celery('proj', changes={'task_acks_late': True})\n"
            "app.config_from_object('proj.celeryconfig')\napp.config_from_object(other.Config)\n"
            "app.config_from_object({'result_backend': 's3://x'})\n"
        ),
        proj__celeryconfig_dot_py="import os\nBROKER_HOSTS = 1\nbroker_url = 'sqs://'\n",
        proj__other_dot_py="class Config:\n    result_backend = 'rpc://'\n    debug = True\n",
    )
    assert found(tmp_path) == [
        ("celery.py", 6, "result-backend"),
        ("celeryconfig.py", 2, "setting-misspelt"),
        ("celeryconfig.py", 3, "broker"),
        ("other.py", 2, "result-backend"),
    ]


def test_settings_of_django(tmp_path: Path) -> None:
    write(
        tmp_path,
        site__celery_dot_py=(
            "from celery import Celery\napp = Celery('site')\n"
            "app.config_from_object('django.conf:settings', namespace='CELERY')\n"
        ),
        site__settings__base_dot_py=(
            "INSTALLED_APPS = ['django.contrib.admin', 'django_celery_beat']\n"
            "TIME_ZONE = 'UTC'\nCELERY_TASK_ACKS_LATE = True\n"
            "CELERY_BROKER_URL = env('X', default='sqs://')\n"
            "CELERY_TASK_TIME_LIMT = 3\n"
            "if DEBUG:\n    CELERY_ALWAYS_EAGER = True\n"
        ),
    )
    assert found(tmp_path) == [
        ("base.py", 1, "package"),
        ("base.py", 4, "broker"),
        ("base.py", 5, "setting-misspelt"),
        ("base.py", 7, "setting-old-name"),
    ]
    misspelt = next(f for f in check([tmp_path]).findings if f.rule == "setting-misspelt")
    assert "CELERY_TASK_TIME_LIMIT" in misspelt.advice


def test_periodic_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "app.conf.beat_schedule = {'x': {}}\napp.add_periodic_task(3, f.s())\n"
    for module in ("settings", "usage"):
        monkeypatch.setattr(f"umbel.contrib.celery.checker.{module}.has_beat", lambda: False)
    assert in_app(tmp_path, text) == [(1, "beat"), (2, "beat")]
    for module in ("settings", "usage"):
        monkeypatch.setattr(f"umbel.contrib.celery.checker.{module}.has_beat", lambda: True)
    assert in_app(tmp_path, text) == []


def test_early_acknowledgement_is_said_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        a_dot_py="from celery import Celery\napp = Celery('a')\n",
        b_dot_py="from celery import Celery\napp = Celery('b')\n",
    )
    assert found(tmp_path) == [("a.py", 2, "early-acks")]


def test_a_chord_without_a_result_backend(tmp_path: Path) -> None:
    text = "from celery import Celery, chord\napp = Celery('x', changes={'task_acks_late': False})\nchord([])(f.s())\n"
    write(tmp_path, a_dot_py=text)
    assert found(tmp_path) == [("a.py", 3, "chord-results")]


def test_passwords_are_not_shown(tmp_path: Path) -> None:
    write(
        tmp_path, a_dot_py=APP + "app.conf.broker_url = 'sqs://key:sesame@x'\napp.conf.broker_password = 9\n"
    )
    for args in ([], ["--json"]):
        shown = run(tmp_path, *args)
        assert "sesame" not in shown.output
        assert "sqs" in shown.output


# -- process files


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Procfile", "web: gunicorn x\nworker: celery -A p worker --autoscale=3,1\n", [(2, "command-option-refused")]),
        ("Procfile", "beat: celery -A p flower\n", [(1, "command-missing")]),
        ("run.sh", "exec celery -A p worker \\\n  -O fair --autoscale=3,1\n", [(1, "command-option-refused"), (1, "command-option-inert")]),
        ("run.sh", "celery -A p worker -lINFO -c4 -P nothing && rm -B x\n", [(1, "pool")]),
        ("run.sh", "# celery -A p worker -B\nrm -rf celery\n", None),
        ("run.sh", "python -m umbel.celery -A p worker -B\n", None),
        ("run.sh", "celery -A p --loader x worker --sparkle 3\n", [(1, "command-option-unknown"), (1, "command-option-unknown")]),
        ("run.sh", "celery -A p worker -l info -Q a,b -n w@%h -c $N -E\n", []),
        ("docker-compose.prod.yml", "s:\n  x:\n    command: celery -A p worker --autoscale=3,1\n", [(3, "command-option-refused")]),
        ("docker-compose.yml", "command: ['celery', '-A', 'p', 'worker', '--autoscale=3,1']\n", [(1, "command-option-refused")]),
        ("docker-compose.yml", "x:\n  command:\n    - celery\n    - worker\n    - --autoscale=3,1\n", [(3, "command-option-refused")]),
        ("docker-compose.yml", "x:\n  command: >\n    celery -A p\n    worker --autoscale=3,1\n  y: 1\n", [(3, "command-option-refused")]),
        ("w.service", "[Service]\nExecStart=/v/bin/celery -A p worker --autoscale=3,1\n", [(2, "command-option-refused")]),
        ("supervisord.conf", "[program:x]\ncommand=celery -A p worker --autoscale=3,1\n", [(2, "command-option-refused")]),
        ("Dockerfile", 'CMD ["sh", "-c", "celery -A p worker --autoscale=3,1"]\n', [(1, "command-option-refused")]),
        ("Makefile", "run:\n\tcelery -A p worker --autoscale=3,1\n", [(2, "command-option-refused")]),
        ("run.sh", "celeryd\n", [(1, "command-missing")]),
    ],
)  # fmt: skip
def test_command_lines(tmp_path: Path, name: str, text: str, expected: list[tuple[int, str]] | None) -> None:
    (tmp_path / name).write_text(text)
    rules = [(line, rule) for _, line, rule in found(tmp_path)]
    assert [entry for entry in rules if entry[1] != "command-start"] == (expected or [])
    if expected is None:
        assert not rules


def test_the_options_are_those_of_the_worker() -> None:
    options = celerys_options()
    assert {"-O", "--statedb"} <= options.inert
    assert {"--autoscale"} <= options.refused.keys()
    assert options.takes_value["--concurrency"]
    assert not options.takes_value["-E"]
    assert {"-A", "--app"} <= options.takes_value.keys()


# -- the whole command


def test_a_clean_project_gives_nothing(tmp_path: Path) -> None:
    write(tmp_path, proj_dot_py=APP + "@app.task(bind=True)\ndef f(self, x):\n    return x\n")
    shown = run(tmp_path)
    assert (shown.exit_code, shown.output) == (OK, "0 errors, 0 warnings, 0 notes in 1 file.\n")


def test_the_example_has_no_errors() -> None:
    assert not [f for f in check([EXAMPLE]).findings if f.severity is Severity.ERROR]


def test_output_groups_by_file_and_exits_by_severity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, p__a_dot_py=APP + "app.setup_security()\napp.conf.update(sparkle=1)\n"))
    shown = run("p")
    assert shown.exit_code == FAILED
    assert shown.output.startswith(
        "p/a.py\n  4: error: The app has no setup_security here. [app-attribute]\n"
    )
    assert shown.output.endswith("1 error, 0 warnings, 1 note in 1 file.\n")
    entries: list[dict[str, Any]] = json.loads(run("p", "--json").output)
    assert [(e["file"], e["line"], e["severity"], e["rule"]) for e in entries] == [
        ("p/a.py", 4, "error", "app-attribute"),
        ("p/a.py", 5, "note", "setting-unknown"),
    ]
    assert all(e["message"] and e["advice"] for e in entries)
    assert "sparkle" not in run("p", "--min-severity", "warning").output
    write(tmp_path, p__a_dot_py=APP + "app.conf.update(sparkle=1)\n")
    assert run("p").exit_code == OK
    write(tmp_path, p__a_dot_py=APP + "app.conf.worker_direct = True\n")
    assert run("p").exit_code == FAILED
    assert run("p", "--min-severity", "error").exit_code == OK


def test_comments_silence_a_line(tmp_path: Path) -> None:
    text = (
        "app.setup_security()  # umbel: ignore\n"
        "app.setup_security()  # umbel: ignore[app-attribute, beat]\n"
        "app.setup_security()  # umbel: ignore[beat]\n"
    )
    assert in_app(tmp_path, text) == [(3, "app-attribute")]


def test_a_module_is_found_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, shop____init___dot_py="raise SystemExit\n"))
    (tmp_path / "shop").mkdir(exist_ok=True)
    (tmp_path / "shop" / "__init__.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "shop" / "celery.py").write_text(APP + "app.setup_security()\n")
    (tmp_path / "single.py").write_text(APP + "app.setup_security()\n")
    for target in ("shop.celery:app", "single", "single:app"):
        shown = run(target)
        assert shown.exit_code == FAILED, shown.output
        assert "setup_security" in shown.output
    with_app = CliRunner().invoke(main, ["-A", "shop.celery", "migrate", "check"])
    assert "setup_security" in with_app.output


@pytest.mark.parametrize("target", ["nowhere", "no/where.py", "nowhere.at:all", "a\0b", "x" * 5000, "?"])
def test_a_missing_path_is_wrong_use(target: str) -> None:
    shown = run(target)
    assert shown.exit_code == USAGE
    assert "There is no file, directory or module" in shown.output


def test_where_nothing_of_celery_is(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == ABSENT
    write(tmp_path, a_dot_py="import os\nos.environ.get('x')\n", b_dot_sh="echo hi\n")
    shown = run(tmp_path)
    assert shown.exit_code == ABSENT
    assert "Nothing of Celery was found in 2 files" in shown.output


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def :\n")
    (tmp_path / "b.py").write_bytes(b"# -*- coding: latin-1 -*-\nx = '\xe9'\nimport celery.nothing_such\n")
    (tmp_path / "c.py").write_bytes(b"x = '\xe9'\n")
    (tmp_path / "d.py").write_bytes(b"# coding: sparkle\n")
    (tmp_path / "e.py").write_bytes(b"x\0y")
    (tmp_path / "f.py").write_bytes(b"\xef\xbb\xbfimport celery.nothing_such  # umbel: ignore\n")
    (tmp_path / "g.py").write_text("(" * 5000)
    (tmp_path / "h.py").write_text("celery" + ".a" * 5000)
    os.mkfifo(tmp_path / "i.py")
    names = [(name, rule) for name, _, rule in found(tmp_path)]
    assert set(names) >= {(f"{name}.py", "unreadable") for name in "acdegi"}
    assert ("b.py", 3, "import-module") in found(tmp_path)
    assert not [name for name, _ in names if name == "f.py"]


def test_directories_of_others_and_loops(tmp_path: Path) -> None:
    bad = "import celery.nothing_such\n"
    for folder in (".hidden", "node_modules", "migrations", "venv", "x.egg-info", "mine"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(bad)
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "pyvenv.cfg").touch()
    (tmp_path / "strange" / "a.py").write_text(bad)
    (tmp_path / "mine" / "loop").symlink_to(tmp_path)
    (tmp_path / "mine" / "dangling.py").symlink_to(tmp_path / "nowhere")
    assert [f.file for f in check([tmp_path]).findings] == [str(tmp_path / "mine" / "a.py")]


# -- the tables


def test_every_rule_is_written_out() -> None:
    for rule in RULES.values():
        assert rule.sentence
        assert rule.advice
    assert {rule for rule, _ in INERT_SETTINGS.values()} <= RULES.keys()
    assert INERT_SETTINGS.keys() <= SETTINGS.keys()
    assert {setting for setting, _ in TASK_INERT.values()} <= SETTINGS.keys()


TOLD_OF = frozenset(
    {
        "task_acks_on_failure",
        "task_acks_on_failure_or_timeout",
        "task_acks_on_timeout",
        "worker_autoscaler",
        "worker_direct",
    }
)
"""Recognised settings that the code names, and that change nothing."""


def test_settings_that_the_code_obeys_are_not_called_inert() -> None:
    source = Path(umbel.__file__).parent
    tables = {source / "settings.py", *(source / "contrib" / "celery" / "checker").iterdir()}
    text = "\n".join(path.read_text() for path in source.rglob("*.py") if path not in tables)
    named = {setting.name for setting in RECOGNISED} & set(re.findall(r"\w+", text))
    assert named - TOLD_OF == ACTING_ANYWAY & {setting.name for setting in RECOGNISED}


def test_the_shim_is_read_from_its_directory(tmp_path: Path) -> None:
    write(tmp_path, celery____init___dot_py="")
    (tmp_path / "celery").mkdir(exist_ok=True)
    (tmp_path / "celery" / "__init__.py").write_text(
        "__all__ = ['late']\nfrom x import y as z\nif 1:\n    a, b = 1, 2\n"
    )
    (tmp_path / "celery" / "any.py").write_text("def __getattr__(name): ...\n")
    (tmp_path / "celery" / "bare").mkdir()
    shim = Shim(tmp_path)
    for name in ("late", "z", "a", "b", "any", "bare"):
        assert shim.has_name("celery", name), name
    assert not shim.has_name("celery", "y")
    assert shim.has_name("celery.any", "whatever")
    assert not shim.has_module("celery.other")
    assert Shim().has_name("celery", "Celery")


# -- anything at all

WORDS = st.sampled_from(
    [
        "celery",
        "kombu",
        "app",
        "conf",
        "update",
        "Celery",
        "import",
        "from",
        ".",
        "=",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "'redis://'",
        '"',
        "\\",
        "\n",
        "\t",
        "@",
        "task",
        "chord",
        "config_from_object",
        "worker",
        "-",
        "-A",
        "-B",
        "--x=",
        "command:",
        ">",
        "|",
        "#",
        "umbel:",
        "ignore[",
        "**",
        "*",
        "lambda",
        "f'{x}'",
        "None",
        "1e999",
    ]
)
TEXT = st.one_of(
    st.lists(WORDS, max_size=40).map(" ".join),
    st.lists(WORDS, max_size=40).map("".join),
    st.text(string.printable, max_size=200),
)
LINES = st.lists(
    st.sampled_from(
        [
            "from celery import *",
            "import celery.worker as w",
            "app = Celery(**x)",
            "app = app.conf = Celery()",
            "app.conf.update(*a, **{'b': 1, **c})",
            "app.conf = app.conf.x = 3",
            "app.conf[1] = app.conf[x:y] = 2",
            "app.conf.task_routes = {1: [2]}",
            "app.conf.update({None: 1, 'timezone': 'Mars'})",
            "app.conf.task_time_limit = 10**400",
            "app.conf.broker_transport_options = {1: 2, 'priority_steps': None}",
            "app.config_from_object(app)",
            "app.config_from_object()",
            "X = X",
            "app.conf.broker_url = X",
            "class Y(Y): pass",
            "class T(U): pass\nclass U(T): pass",
            "@app.task()\ndef f(*, a): x.get().delay().get()",
            "app.conf.accept_content = {'json', *x}",
            "app.conf.worker_concurrency = 1e999",
            "app.conf.beat_schedule = []",
            "app.conf.worker_pool = 3",
            "d = {**d}\napp.conf.update(d)",
        ]
    ),
    max_size=12,
).map("\n".join)


@given(st.lists(st.tuples(st.sampled_from(["a.py", "celeryconfig.py", "settings.py", "x.sh", "docker-compose.yml"]), st.one_of(TEXT.map(str.encode), LINES.map(lambda text: ("from celery import Celery\n" + text).encode()), st.binary(max_size=60))), max_size=4))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_no_content_makes_it_fail(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for name, content in files:
        (folder / name).write_bytes(content)
    for finding in check([folder]).findings:
        assert finding.line >= 0
        assert "{" not in finding.rule
