"""``sgdvi models``: what ships with sgdvi, and a template for a file of one's own."""

import click


@click.command("models", short_help="List the models that ship with sgdvi, or print a template.")
@click.option("--template", is_flag=True, help="Print a model file of your own to start from.")
def command(template: bool) -> None:
    """List the models that ship with sgdvi.

    `sgdvi models --template > mymodel.py` starts a file of your own; `sgdvi compare ./mymodel.py` runs it.
    """
    from sgdvi import zoo

    if template:
        click.echo(zoo.template(), nl=False)
        return
    summaries = zoo.list()
    width = max(map(len, summaries))
    for name, summary in summaries.items():
        click.echo(f"{name:<{width}}  {summary}")
    click.echo("\nRun one: sgdvi compare NAME. Your own: sgdvi models --template > mymodel.py")
