"""The pages of the courses, with those that the demo shows."""

from django.test import TestCase


class CourseTests(TestCase):
    fixtures = ("courses",)

    def test_the_list(self) -> None:
        response = self.client.get("/")
        self.assertContains(response, "Websites with Django")
        self.assertContains(response, "5 lessons · 220 minutes")

    def test_a_course(self) -> None:
        response = self.client.get("/courses/websites-with-django/", headers={"accept-language": "zh-CN"})
        self.assertContains(response, "Accounts and mails")
        self.assertContains(response, "55 分钟")

    def test_one_that_does_not_exist(self) -> None:
        self.assertContains(self.client.get("/courses/none/"), "There is no such page", status_code=404)
