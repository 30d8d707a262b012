from django.contrib import admin

from .models import Course, Lesson


class Lessons(admin.TabularInline):
    model = Lesson


@admin.register(Course)
class CourseAdmin(admin.ModelAdmin):
    list_display = ["name", "teacher", "level", "language"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [Lessons]
