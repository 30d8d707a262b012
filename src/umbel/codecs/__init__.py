"""Bytes to calls and results and back: Celery's protocol, serializers, compression, portable exceptions."""
