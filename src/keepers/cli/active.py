"""`keepers active`: a labelling campaign, command by command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keepers.cli.commands import Json, Request, command
from keepers.workflows.options.active import StartOptions

TOKEN = "LABEL_STUDIO_TOKEN"


app = typer.Typer(
    name="active",
    help="Active learning: which unlabelled examples are worth labelling next?",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Directory = Annotated[
    Path, typer.Option("--campaign", help="Folder of the campaign (default: the current one)")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist")]

Trusted = typer.Option(help="Confirm a model of the campaign that is code: package.module:function")
TrustedProxy = Annotated[str | None, Trusted]
TrustedTarget = Annotated[str | None, Trusted]
TrustedFeatures = Annotated[str | None, Trusted]


POOL = typer.Argument(metavar="POOL", help="Unlabelled examples, in a file or folder as DATA")


@app.command("start")
@command(StartOptions, argument=POOL)
def start(request: Request[StartOptions]) -> None:
    """Start a campaign on a pool of unlabelled examples."""
    from keepers.cli.campaigns import run_start

    run_start(request)


@app.command("query")
def query(
    count: Annotated[int, typer.Argument(help="How many examples to label next")],
    campaign: Directory = Path(),
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="Plan another batch even if nothing of the last one is labelled"
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="CSV, JSON lines or Parquet file for the batch")
    ] = None,
    overwrite: Overwrite = False,
    proxy: TrustedProxy = None,
    target: TrustedTarget = None,
    features: TrustedFeatures = None,
    json_: Json = False,
) -> None:
    """Train the proxy on the labels so far, and choose the next batch to label."""
    from keepers.cli.campaigns import run_query

    named = {"proxy": proxy, "target": target, "features": features}
    run_query(campaign, count, named, new=new, out=out, overwrite=overwrite, as_json=json_)


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="Labels: CSV, JSON lines, Parquet, or Label Studio's JSON")
    ],
    campaign: Directory = Path(),
    annotator: Annotated[
        str | None,
        typer.Option(help="Annotator of rows that name none (default: the file's name)"),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Import the valid rows of a file with errors")
    ] = False,
    json_: Json = False,
) -> None:
    """Import labels: any subset, in any order, repeatedly, from several people."""
    from keepers.cli.campaigns import run_import

    run_import(campaign, file, annotator=annotator, partial=partial, as_json=json_)


@app.command("label")
def label(
    campaign: Directory = Path(),
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; opening the page needs the token in its URL"),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 8765,
) -> None:
    """Label the batch on a local page in a browser."""
    from keepers.cli.campaigns import run_label

    run_label(campaign, host=host, port=port)


@app.command("label-studio")
def label_studio(
    url: Annotated[str, typer.Argument(help="Address of the Label Studio server")],
    campaign: Directory = Path(),
    token_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the access token")
    ] = TOKEN,
    poll: Annotated[
        float | None,
        typer.Option(help="Poll every N seconds until everything is labelled and settled"),
    ] = None,
    json_: Json = False,
) -> None:
    """Send the batch to a Label Studio server, and fetch the labels from it."""
    from keepers.cli.campaigns import run_label_studio

    run_label_studio(campaign, url, variable=token_variable, poll=poll, as_json=json_)


@app.command("status")
def status(
    campaign: Directory = Path(),
    train: Annotated[
        bool, typer.Option("--train", help="Train and measure the proxy on the current labels")
    ] = False,
    goal: Annotated[
        float | None, typer.Option(help="Forecast how many labels this score needs")
    ] = None,
    proxy: TrustedProxy = None,
    target: TrustedTarget = None,
    features: TrustedFeatures = None,
    json_: Json = False,
) -> None:
    """Show the state of the campaign; also writes report.html."""
    from keepers.cli.campaigns import run_status

    named = {"proxy": proxy, "target": target, "features": features}
    run_status(campaign, named, train=train, goal=goal, as_json=json_)


@app.command("export")
def export(
    out: Annotated[Path, typer.Option(help="Parquet, CSV or JSON lines file")],
    campaign: Directory = Path(),
    overwrite: Overwrite = False,
    json_: Json = False,
) -> None:
    """Write the labelled examples, with the origin of each label."""
    from keepers.cli.campaigns import run_export

    run_export(campaign, out, overwrite=overwrite, as_json=json_)


@app.command("moved")
def moved(
    pool: Annotated[str | None, typer.Argument(help="New path of the pool")] = None,
    campaign: Directory = Path(),
    labelled: Annotated[str | None, typer.Option(help="New path of --labelled of 'start'")] = None,
    test: Annotated[str | None, typer.Option(help="New path of --test of 'start'")] = None,
    json_: Json = False,
) -> None:
    """Record the new paths of the campaign's data after you moved them."""
    from keepers.cli.campaigns import run_moved

    run_moved(campaign, {"pool": pool, "labelled": labelled, "test": test}, as_json=json_)


@app.command("classes")
def classes(
    names: Annotated[
        str, typer.Argument(help="Names of the classes or labels, separated by commas")
    ],
    campaign: Directory = Path(),
    rename: Annotated[
        list[str] | None,
        typer.Option(metavar="OLD=NEW", help="Rename a class or label"),
    ] = None,
    json_: Json = False,
) -> None:
    """Change the classes or labels; the votes of removed ones are kept in case they come back."""
    from keepers.cli.campaigns import run_classes

    run_classes(campaign, names, rename or [], as_json=json_)
