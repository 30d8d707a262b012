"""Umbel and real Celery on one real Redis, each in processes of its own."""
