"""The command lines of Celery in files that start processes."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import PurePath

from umbel.cli.base import CELERYS, COMMANDS
from umbel.cli.worker import celerys_options
from umbel.contrib.celery.checker.source import Text

__all__ = ["check_processes"]

_COMMANDS = frozenset(
    [
        "worker",
        "beat",
        "multi",
        "flower",
        "events",
        "inspect",
        "control",
        "status",
        "purge",
        "call",
        "result",
        "report",
        "shell",
        "list",
        "migrate",
        "graph",
        "logtool",
        "upgrade",
        "amqp",
    ]
)
_GLOBAL_WITH_VALUE = frozenset(
    {"-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"}
)
_NO_COMMAND = frozenset({"--loader", "--config", "--skip-checks"})
"""Options before the command that Umbel has not."""
_ENDS = frozenset({"&&", "||", ";", "|", "&", ">", ">>", "2>&1", "<"})
_OLD_PROGRAMS = {"celeryd": "worker", "celerybeat": "beat", "celeryev": "events"}
_PUNCTUATION = re.compile(r"[\[\],{}]+(?=\s|$|[\"'])|(?<=\s)[\[\]{}]+|(?<=[\"'])\s*,")
_KEY = re.compile(r"^\s*(?:command|Exec\w+)\s*=\s*[-@+!:]*")
"""Of supervisord and systemd."""
_ITEM = re.compile(r"\s*-\s+(?!name\b)(\S.*)$")
_FOLDED = re.compile(r"^(\s*)(?:-\s+)?[\w.-]+\s*:\s*[>|][+-]?\s*$")


def check_processes(text: Text) -> None:
    """Every ``celery ... worker`` and its like: the command, and the options of workers."""
    for line, words in _commands(text):
        text.celery = True
        _check(text, line, words)


def _commands(text: Text) -> Iterator[tuple[int, list[str]]]:
    """The words after ``celery``, with the line."""
    for line, logical in _logical(text.lines):
        if not re.search(r"\bcelery", logical):
            continue
        words = _split(logical)
        for index, word in enumerate(words):
            program = PurePath(word).name
            if program in _OLD_PROGRAMS:
                text.celery = True
                name = _OLD_PROGRAMS[program]
                text.say(
                    "command-missing", line, name=program, advice=f"Start `python -m umbel.celery {name}`."
                )
            elif program == "celery" and not _umbels(words[:index]):
                yield line, list(itertools.takewhile(lambda word: word not in _ENDS, words[index + 1 :]))


def _umbels(before: list[str]) -> bool:
    return any(word in ("umbel", "umbel.celery") for word in before)


def _split(line: str) -> list[str]:
    plain = _PUNCTUATION.sub(" ", _KEY.sub("", line))
    for separator in ("&&", "||", ";"):
        plain = plain.replace(separator, f" {separator} ")
    try:
        words = shlex.split(plain, comments=True)
    except ValueError:  # a quote that is not closed
        words = plain.replace('"', " ").replace("'", " ").split()
    # A quoted command, as in sh -c "celery -A proj worker", is one word.
    return [part for word in words for part in (word.split() if "celery" in word else [word])]


def _logical(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines that belong together as one: continued by a backslash, items of a YAML list, a folded block."""
    index = 0
    while index < len(lines):
        start, line = index, lines[index]
        index += 1
        if line.rstrip().endswith("\\"):
            parts = [line.rstrip()[:-1]]
            while index < len(lines) and parts:
                following = lines[index].rstrip()
                index += 1
                parts.append(following.removesuffix("\\"))
                if not following.endswith("\\"):
                    break
            yield start + 1, " ".join(parts)
        elif _ITEM.match(line):
            items = [line]
            while index < len(lines) and _ITEM.match(lines[index]):
                items.append(lines[index])
                index += 1
            yield from _items(start, items)
        elif folded := _FOLDED.match(line):
            first = index
            while index < len(lines) and _deeper(lines[index], len(folded[1])):
                index += 1
            yield from _block(first, lines[first:index])
        else:
            yield start + 1, line


def _deeper(line: str, indent: int) -> bool:
    return not line.strip() or len(line) - len(line.lstrip()) > indent


def _items(start: int, items: list[str]) -> Iterator[tuple[int, str]]:
    """A list is one command when one of its items is the word ``celery``; else each item may be one."""
    words = [match[1].strip().strip("\"'") if (match := _ITEM.match(item)) else "" for item in items]
    named = [index for index, word in enumerate(words) if PurePath(word).name == "celery"]
    if named:
        yield start + named[0] + 1, " ".join(words)
    else:
        yield from ((start + index + 1, word) for index, word in enumerate(words))


def _block(first: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    named = [index for index, line in enumerate(lines) if re.search(r"\bcelery\b", line)]
    if named:
        yield first + named[0] + 1, " ".join(line.strip().removesuffix("\\") for line in lines[named[0] :])


# -- one command line


def _check(text: Text, line: int, words: list[str]) -> None:
    index = 0
    unknown: list[str] = []
    while index < len(words) and words[index] not in _COMMANDS:
        name = words[index].partition("=")[0]
        if name in _NO_COMMAND:
            unknown.append(name)
        index += 2 if name in _GLOBAL_WITH_VALUE and "=" not in words[index] else 1
    if index >= len(words):
        return  # the word, and no command
    command, rest = words[index], words[index + 1 :]
    text.say("command-start", line)
    for name in unknown:
        text.say("command-option-unknown", line, name=name)
    if command not in COMMANDS or command == "migrate":
        advice = CELERYS.get(command, "Run that of Celery, which talks to the same broker.")
        text.say("command-missing", line, name=command, advice=advice)
    elif command == "worker":
        _worker(text, line, rest)


def _worker(text: Text, line: int, words: list[str]) -> None:
    options = celerys_options()
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not word.startswith("-") or word in ("-", "--"):
            continue
        for name, value in _names(word, options.takes_value):
            if options.takes_value.get(name) and value is None and index < len(words):
                value = words[index]
                index += 1
            _option(text, line, name, value)


def _names(word: str, takes_value: dict[str, bool]) -> Iterator[tuple[str, str | None]]:
    """``--a=b``, ``-lINFO`` and ``-BE`` as options with the values that are attached to them."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        yield name, value if equals else None
        return
    for index in range(1, len(word)):
        name = f"-{word[index]}"
        if takes_value.get(name, True):
            yield name, word[index + 1 :] or None
            return
        yield name, None


def _option(text: Text, line: int, name: str, value: str | None) -> None:
    options = celerys_options()
    if name in options.refused:
        text.say("command-option-refused", line, name=name, advice=options.refused[name])
    elif name in options.inert:
        text.say("command-option-inert", line, name=name)
    elif name not in options.takes_value:
        text.say("command-option-unknown", line, name=name)
    elif name in ("-P", "--pool") and value and value.lower() not in options.pools and "$" not in value:
        text.say("pool", line, name=repr(value), known=", ".join(sorted(options.pools)))
