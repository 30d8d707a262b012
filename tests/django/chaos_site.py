"""Sites for the chaos suite whose queues are in a database of the tests' Django project."""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys

TESTS = pathlib.Path(__file__).parents[1]
if str(TESTS) not in sys.path:
    # The modules of the other suites. At the end: there is a folder called django among them.
    sys.path.append(str(TESTS))


def environment(folder: pathlib.Path) -> dict[str, str]:
    """With which processes find the project and the modules of the chaos suite, without that folder: `folder` has links."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("chaos", "worker"):
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to(TESTS / name)
    path = [str(TESTS / "worker"), str(folder), str(TESTS.parent)]
    return {"DJANGO_SETTINGS_MODULE": "tests.django.site.settings", "PYTHONPATH": os.pathsep.join(path)}
