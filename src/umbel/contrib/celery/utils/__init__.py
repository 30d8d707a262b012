"""What ``celery.utils`` holds: helpers that have little to do with tasks, and that projects import all the same."""
