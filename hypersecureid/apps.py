from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "hypersecureid"

    def ready(self) -> None:
        from hypersecureid import checks  # noqa: F401 - registers them
