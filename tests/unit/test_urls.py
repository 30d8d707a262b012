"""URLs as people may see them: without what is secret, whatever is wrong with them."""

from __future__ import annotations

import pytest

from umbel.backends import open_broker
from umbel.core.urls import mask_url
from umbel.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:secret@h:6379/0", "redis://:***@h:6379/0"),
        ("redis://ann:secret@h/0", "redis://ann:***@h/0"),
        ("redis://:p#ss@h/1", "redis://:***@h/1"),
        ("redis://:pa/ss@h/1", "redis://:***@h/1"),
        ("redis://:p?ss@h", "redis://:***@h"),
        ("redis://:p@ss@h", "redis://:***@h"),
        ("redis://:a;b@h", "redis://:***@h"),
        ("redis://:a;b://c@h", "redis://:***@h"),
        ("redis://u/er:secret@h", "redis://***@h"),
        ("redis://:secret@[bad", "redis://:***@[bad:***"),
        ("redis://ann:secret", "redis://ann:***"),
        ("redis://:secret", "redis://:***"),
        (":secret@h:6379", ":***@h:6379"),
        ("redis+socket://:secret@/run/redis.sock?virtual_host=2", "redis+socket://:***@/run/redis.sock?virtual_host=2"),
        ("redis://:one@a/0;redis://:two@b/0", "redis://:***@a/0;redis://:***@b/0"),
        ("redis://:o;ne@a; redis://ann:t;wo@b/0", "redis://:***@a; redis://ann:***@b/0"),
        ("sentinel://:secret@a:26379;b:26380/0", "sentinel://:***@a:26379;b:26380/0"),
        ("redis://h/0?password=x&socket_timeout=3", "redis://h/0?password=***&socket_timeout=3"),
        ("redis://h/0?a=1&pass%77ord=x&y#z&db=1", "redis://h/0?a=1&pass%77ord=***&***&db=1"),
        ("redis://:one@h?token=two&ssl_keyfile=k.pem", "redis://:***@h?token=***&ssl_keyfile=k.pem"),
    ],
)  # fmt: skip
def test_what_is_secret_is_hidden(url: str, shown: str) -> None:
    assert mask_url(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "redis://ann@localhost",
        "redis://[::1]:6379/0?socket_timeout=3",
        "sentinel://a:26379;sentinel://b:26379/1",
        "sqlite:////srv/a@b/queue.db",
        "sqlite:///queue.db?synchronous=full",
        "memory://",
        "disabled://",
        "localhost",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(url: str) -> None:
    assert mask_url(url) == url


@pytest.mark.parametrize("url", ["redis://:hun#ter2@h", "redis://:hun/ter2@h", "redis://:1/ter2@h", "redis://:hun;ter2@h"])  # fmt: skip
def test_a_password_that_breaks_its_url_is_not_quoted_in_the_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must be written as") as caught:
        open_broker(url)
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert caught.value.__cause__ is None
