"""Celery's names for programs that were written for it. ``umbel.install_as_celery()`` makes ``import celery`` find them.

``packages`` holds the modules under Celery's and kombu's own names; what they contain stands in the modules beside it.
"""
