"""POST /user-data/set, as the tutorials write it."""

from django.db import IntegrityError, connection
from django.db.models import F
from rest_framework import permissions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from plain.models import UserValue


class HasScopes(permissions.BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        scopes = request.auth.get("scope", "").split() if request.auth else []
        return {"email", "user-data-set"} <= set(scopes)


class SetValueSerializer(serializers.Serializer):
    request_id = serializers.IntegerField(required=False)
    value_key = serializers.CharField(max_length=128, trim_whitespace=False)
    value_data = serializers.CharField(max_length=262_144, trim_whitespace=False, allow_blank=True)


class SetValue(APIView):
    permission_classes = [permissions.IsAuthenticated, HasScopes]

    def post(self, request: Request) -> Response:
        serializer = SetValueSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        params = serializer.validated_data
        try:
            UserValue.objects.update_or_create(
                owner_id=request.user.id,
                key=params["value_key"],
                app=request.auth["azp"],
                defaults={"value": params["value_data"], "revision": F("revision") + 1},
                create_defaults={"value": params["value_data"]},
            )
        except IntegrityError:
            result = -6
        else:
            result = 0
        answer = {"result": result}
        if "request_id" in params:
            answer["request_id"] = params["request_id"]
        return Response(answer)


class Ready(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, _request: Request) -> Response:
        connection.ensure_connection()
        return Response({"ok": True})
