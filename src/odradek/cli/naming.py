"""Groups of sub-commands with short names for the common ones."""

import click

ALIASES = {"ls": "list", "rm": "delete", "show": "describe", "new": "create"}


class AliasGroup(click.Group):
    """A group that also knows ``ls`` for ``list`` and its like, and names the nearest command when
    it knows none.
    """

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, ALIASES.get(cmd_name, ""))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        _, command, rest = super().resolve_command(ctx, args)
        return command.name if command else None, command, rest
