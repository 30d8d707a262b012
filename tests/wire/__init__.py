"""The codecs against what real Celery 5.7 put on the wire, against real kombu, and against nonsense."""
