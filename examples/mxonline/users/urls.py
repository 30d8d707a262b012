from django.contrib.auth.views import LogoutView
from django.urls import path

from .views import login, password, profile, register

app_name = "users"
urlpatterns = [
    path("register/", register.register, name="register"),
    path("mail-sent/", register.mail_sent, name="mail_sent"),
    path("activate/<slug:code>/", register.activate, name="activate"),
    path("login/", login.LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("language/", login.language, name="language"),
    path("forget/", password.forget, name="forget"),
    path("reset/<slug:code>/", password.reset, name="reset"),
    path("profile/", profile.profile, name="profile"),
    path("profile/email/", profile.new_address, name="new_address"),
    path("profile/email/confirm/", profile.confirm_address, name="confirm_address"),
]
