"""``umbel`` with a link between supervisor and node that holds only a few messages."""

from __future__ import annotations

import socket

from umbel.cli import main
from umbel.worker import link

make_link = link.make_link


def narrow_link() -> tuple[socket.socket, socket.socket]:
    """The system makes its buffer as small as it may be."""
    ours, theirs = make_link()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return ours, theirs


link.make_link = narrow_link

if __name__ == "__main__":
    main()
