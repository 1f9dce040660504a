"""Django with simplejwt and its blacklist, as their documentation sets them up: a check reads the user's row; the blacklist
holds refresh tokens, so an access token outlives its logout."""

import os
import socket
import sys
from datetime import timedelta
from pathlib import Path

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a secret of at least thirty-two octets",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF="serve",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("db.sqlite3")}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
    ],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]},
    SIMPLE_JWT={"ACCESS_TOKEN_LIFETIME": timedelta(hours=1), "BLACKLIST_AFTER_ROTATION": True},
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Check(APIView):
    permission_classes = [IsAuthenticated]

    def get(self, request):
        return Response(headers={"Remote-User": request.user.username})


urlpatterns = [path("check", Check.as_view())]
application = get_wsgi_application()


def main():
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from rest_framework_simplejwt.tokens import RefreshToken

    call_command("migrate", verbosity=0)
    user, _ = get_user_model().objects.get_or_create(username="emily")
    print(f"HEADER Authorization: Bearer {RefreshToken.for_user(user).access_token}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(f"READY http://127.0.0.1:{port}/check", flush=True)
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    os.execv(gunicorn, [gunicorn, "--bind", f"127.0.0.1:{port}", "--workers", "1", "--log-level", "error", "serve:application"])


if __name__ == "__main__":
    main()
