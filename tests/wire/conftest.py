"""Property tests here are judged by what they find, not by how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("wire", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("wire")
