from django.urls import path

from . import views

app_name = "courses"
urlpatterns = [
    path("", views.CourseList.as_view(), name="list"),
    path("courses/<slug:slug>/", views.CourseDetail.as_view(), name="detail"),
]
