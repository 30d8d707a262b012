"""The parts of ``umbel.contrib.django.TaskBackend``."""
