"""Courses and their lessons."""

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils.translation import gettext_lazy as _


class Course(models.Model):
    """A course, in one language."""

    class Level(models.TextChoices):
        BEGINNER = "beginner", _("Beginner")
        INTERMEDIATE = "intermediate", _("Intermediate")
        ADVANCED = "advanced", _("Advanced")

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)
    language = models.CharField(max_length=10, choices=settings.LANGUAGES, default="en")
    teacher = models.CharField(max_length=50)
    level = models.CharField(max_length=12, choices=Level)
    summary = models.CharField(max_length=200)
    description = models.TextField()

    class Meta:
        ordering = ["language", "name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("courses:detail", args=[self.slug])


class Lesson(models.Model):
    """One part of a course."""

    course = models.ForeignKey(Course, models.CASCADE, related_name="lessons")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=100)
    minutes = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["course", "position"], name="one_lesson_for_a_position")
        ]

    def __str__(self) -> str:
        return self.name
