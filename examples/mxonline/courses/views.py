"""The pages of the courses."""

from django.db.models import Count, QuerySet, Sum
from django.views.generic import DetailView, ListView

from .models import Course


class CourseList(ListView):
    """All courses."""

    queryset = Course.objects.annotate(
        lesson_count=Count("lessons"), minutes=Sum("lessons__minutes")
    ).order_by("language", "name")


class CourseDetail(DetailView):
    """One course, with its lessons."""

    def get_queryset(self) -> QuerySet[Course]:
        return Course.objects.prefetch_related("lessons")
