"""The admin: stored keys can be found and read there, and never changed.

The list never counts, sorts or loads more than a page, so that it opens as fast over ten million
keys as over ten.
"""

from datetime import UTC, datetime
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, transaction
from django.db.models import Func, IntegerField, Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import smart_split, unescape_string_literal
from psycopg.errors import QueryCanceled
from unfold.admin import ModelAdmin  # type: ignore[import-untyped]
from unfold.contrib.filters.admin import RangeDateFilter, TextFilter  # type: ignore[import-untyped]
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm  # type: ignore[import-untyped]
from unfold.paginator import InfinitePaginator  # type: ignore[import-untyped]

from userdata import owners
from userdata.models import StoredValue

LIST_SECONDS = 5
SHOWN_CHARS = 10_000

admin.site.unregister([User, Group])


class AppFilter(TextFilter):  # type: ignore[misc]
    title = "app (exact)"
    parameter_name = "app"

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredValue]) -> QuerySet[StoredValue]:
        app = self.value()
        return queryset.filter(app=app.replace("\0", "")) if app else queryset


class UpdatedFilter(RangeDateFilter):  # type: ignore[misc]
    """Whole days in UTC, the last included."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[StoredValue]) -> QuerySet[StoredValue]:
        days = {"gte": self.used_parameters.get("updated_at_from"), "lte": self.used_parameters.get("updated_at_to")}
        try:
            return queryset.filter(**{f"updated_at__date__{lookup}": day for lookup, day in days.items() if day})
        except (ValidationError, ValueError):
            return queryset


@admin.register(StoredValue)
class StoredValueAdmin(ModelAdmin):  # type: ignore[misc]
    list_display = ["shown_key", "shown_owner", "shown_app", "access_scope", "revision", "shown_updated"]
    list_display_links = ["shown_key"]
    list_filter = ["owner_kind", "access_scope", AppFilter, ("updated_at", UpdatedFilter)]
    list_filter_submit = True
    list_per_page = 50
    search_fields = ["owner_id", "key", "app"]
    search_help_text = "User's id, beginning of a key, or app"
    ordering = ["-id"]
    sortable_by: ClassVar[list[str]] = []
    paginator = InfinitePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions = None

    readonly_fields = ["shown_key", "shown_owner", "shown_app", "shown_created", "shown_updated", "hidden_value"]
    fields = [*readonly_fields[:3], "access_scope", "revision", *readonly_fields[3:]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: StoredValue | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: StoredValue | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[StoredValue]:
        stored: QuerySet[StoredValue] = super().get_queryset(request)
        return stored.defer("value")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{LIST_SECONDS}s'")
                page: HttpResponse = super().changelist_view(request, extra_context)
                return page
        except OperationalError as cause:
            if not isinstance(cause.__cause__, QueryCanceled) or not request.GET:
                raise
        messages.error(
            request,
            f"Nothing was found within {LIST_SECONDS} seconds. In a table of this size, only a search by the "
            "exact id of a user who has keys is sure to be quick.",
        )
        return redirect(request.path)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[StoredValue], search_term: str
    ) -> tuple[QuerySet[StoredValue], bool]:
        """Search by user where the first word is one: the only index leads with the owner."""
        words = [
            unescape_string_literal(word) if word[0] in "\"'" and word[0] == word[-1] else word
            for word in smart_split(search_term)
        ]
        if words:
            of_user = queryset & owners.rows_of(words[0])
            if of_user.exists():
                queryset = of_user
                del words[0]
        for word in words:
            queryset = queryset.filter(Q(key__startswith=word) | Q(app=word))
        return queryset, False

    # What clients chose freely stands isolated, so that letters written from right to left turn around nothing else.

    @admin.display(description="key")
    def shown_key(self, stored: StoredValue) -> SafeString:
        return format_html("<bdi>{}</bdi>", stored.key)

    @admin.display(description="owner")
    def shown_owner(self, stored: StoredValue) -> SafeString:
        return format_html_join(", ", "{} <bdi>{}</bdi>", owners.parts(stored).items())

    @admin.display(description="app")
    def shown_app(self, stored: StoredValue) -> SafeString:
        return format_html("<bdi>{}</bdi>", stored.app)

    @admin.display(description="created (UTC)")
    def shown_created(self, stored: StoredValue) -> str:
        return _to_the_second(stored.created_at)

    @admin.display(description="updated (UTC)")
    def shown_updated(self, stored: StoredValue) -> str:
        return _to_the_second(stored.updated_at)

    @admin.display(description="value")
    def hidden_value(self, stored: StoredValue) -> SafeString:
        """The value behind a click; of a long one, no more than its beginning leaves the database."""
        size = Func("value", function="octet_length", output_field=IntegerField())
        row = StoredValue.objects.filter(pk=stored.pk).values_list(size, Left("value", SHOWN_CHARS + 1)).first()
        bytes_, beginning = row or (0, "")
        cut = f"\n… cut after {SHOWN_CHARS:,} characters" if len(beginning) > SHOWN_CHARS else ""
        return format_html(
            "<details><summary>{} bytes; click to show</summary>"
            '<pre style="white-space: pre-wrap; overflow-wrap: anywhere"><bdi>{}</bdi>{}</pre></details>',
            f"{bytes_:,}",
            beginning[:SHOWN_CHARS],
            cut,
        )


def _to_the_second(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc, type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass
