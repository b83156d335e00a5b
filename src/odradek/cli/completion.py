"""``odradek completion``: the script that makes a shell complete commands, options, topics and groups."""

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(odradek completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(odradek completion zsh)"    # in ~/.zshrc, after compinit',
    "fish": "odradek completion fish > ~/.config/fish/completions/odradek.fish",
}


@click.command("completion", epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(tuple(_HOW)))
def command(shell: str) -> None:
    """Print the completion script of SHELL; topic and group names are asked from the broker as you type."""
    from odradek.cli.main import odradek

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    completion = completion_class(odradek, {}, "odradek", "_ODRADEK_COMPLETE")
    click.echo(completion.source_template % completion.source_vars())
