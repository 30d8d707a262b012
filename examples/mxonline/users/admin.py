from django.contrib import admin

from .models import EmailVerifyRecord, User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    list_display = ["email", "is_active", "language", "date_joined"]
    search_fields = ["email"]
    fields = ["email", "is_active", "is_staff", "is_superuser", "language"]


@admin.register(EmailVerifyRecord)
class EmailVerifyRecordAdmin(admin.ModelAdmin):
    list_display = ["email", "send_type", "request_time", "send_time", "expiry", "used"]
    list_filter = ["send_type", "used"]
    search_fields = ["email"]
    exclude = ["code"]  # it opens an account
