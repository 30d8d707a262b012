"""Property tests here are judged by what they find, not by how busy the machine is.

In CI they try the same examples every time, so that what fails there can be seen again; elsewhere they look for new ones.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "wire",
    deadline=None,
    database=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("wire")
