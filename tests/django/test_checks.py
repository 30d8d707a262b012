"""``manage.py check`` finds settings that contradict one another or are dangerous, and says what to do."""

from __future__ import annotations

import pathlib

import pytest
from tests.django.project import Project

WRONG = [
    ("UMBEL = {'broker_ulr': 'x'}", "umbel.E001", "broker_ulr"),
    ("UMBEL = ['broker_url']", "umbel.E001", "must be a dict"),
    ("UMBEL = {'outbox': 'yes'}", "umbel.E001", "outbox"),
    ("UMBEL = {'task_time_limit': 5, 'task_soft_time_limit': 10}", "umbel.E001", "task_soft_time_limit"),
    ("UMBEL = {'result_expires': 'soon'}", "umbel.E001", "result_expires"),
    ("UMBEL = {'broker_url': 'carrier-pigeon://x'}", "umbel.E002", "carrier-pigeon"),
    ("UMBEL = {'database': 'elsewhere'}", "umbel.E003", "DATABASES has: default"),
    (
        "UMBEL = {'broker_url': 'redis://a'}\nCELERY_BROKER_URL = 'redis://b'",
        "umbel.W001",
        "CELERY_BROKER_URL",
    ),
    ("CELERY_BEAT_SHEDULE = {}", "umbel.W002", "CELERY_BEAT_SHEDULE"),
    ("UMBEL = {'accept_content': ['json', 'pickle']}", "umbel.W003", "pickle"),
    ("DEBUG = False\nUMBEL = {'task_always_eager': True}", "umbel.W004", "task_always_eager"),
    ("UMBEL = {'outbox': True}", "umbel.W005", "outbox"),
    ("DATABASES['default']['NAME'] = ':memory:'", "umbel.W006", "in memory"),
    ("", "umbel.W007", "IMMEDIATE"),
    ("UMBEL = {'broker_url': 'django://'}", "umbel.W007", "'default'"),
]


@pytest.fixture
def project(tmp_path: pathlib.Path) -> Project:
    return Project(tmp_path)


def test_a_project_that_is_as_it_should_be_hears_nothing(project: Project) -> None:
    project.add_settings(
        "UMBEL = {'broker_url': 'redis://localhost:6379/0'}\nCELERY_TASK_TRACK_STARTED = True\n"
    )
    assert "no issues" in project.manage("check").stdout


@pytest.mark.parametrize(("settings", "id", "word"), WRONG, ids=[f"{id}-{word}" for _, id, word in WRONG])
def test_what_is_wrong_is_found_with_a_hint(project: Project, settings: str, id: str, word: str) -> None:
    project.add_settings(settings + "\n")
    done = project.manage("check", check=False)
    assert f"({id})" in done.stderr
    assert word in done.stderr
    assert (done.returncode != 0) == id.startswith("umbel.E")


def test_missing_tables_are_found_where_the_database_may_be_asked(project: Project) -> None:
    project.add_settings("DATABASES['default']['OPTIONS']['transaction_mode'] = 'IMMEDIATE'\n")
    assert "no issues" in project.manage("check").stdout
    done = project.manage("check", "--database", "default", check=False)
    assert "(umbel.E004)" in done.stderr
    assert "manage.py migrate umbel" in done.stderr
    project.manage("migrate", "-v", "0")
    assert "no issues" in project.manage("check", "--database", "default").stdout
