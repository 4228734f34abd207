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
    help="Active learning: which of my unlabelled data is worth labelling next?",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Directory = Annotated[
    Path, typer.Option("--campaign", help="Folder of the campaign (default: the current one)")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that exist")]

Trusted = typer.Option(help="Name again a model of the campaign that is package.module:function")
TrustedProxy = Annotated[str | None, Trusted]
TrustedTarget = Annotated[str | None, Trusted]
TrustedFeatures = Annotated[str | None, Trusted]


POOL = typer.Argument(metavar="POOL", help="Unlabelled examples, in a file or folder as DATA")


@app.command("start")
@command(StartOptions, argument=POOL)
def start(request: Request[StartOptions]) -> None:
    """Begin a campaign on a pool of unlabelled examples."""
    from keepers.cli.campaigns import run_start

    run_start(request)


@app.command("query")
def query(
    count: Annotated[int, typer.Argument(help="How many examples to label next")],
    campaign: Directory = Path(),
    new: Annotated[
        bool, typer.Option("--new", help="Plan another batch though the last one is untouched")
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
    """Train the proxy on what is labelled and plan the next batch."""
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
        typer.Option(help="Who labelled, where the file does not say; the file's name by default"),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what can be taken of a file with errors")
    ] = False,
    json_: Json = False,
) -> None:
    """Take labels in: any subset, in any order, twice, from several people."""
    from keepers.cli.campaigns import run_import

    run_import(campaign, file, annotator=annotator, partial=partial, as_json=json_)


@app.command("label")
def label(
    campaign: Directory = Path(),
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; whoever opens the page needs the token in its address"
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 8765,
) -> None:
    """Label the batch in a browser, on a local page."""
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
        typer.Option(help="Ask again every so many seconds until all is labelled and settled"),
    ] = None,
    json_: Json = False,
) -> None:
    """Send the batch to a Label Studio server and bring back what is labelled there."""
    from keepers.cli.campaigns import run_label_studio

    run_label_studio(campaign, url, variable=token_variable, poll=poll, as_json=json_)


@app.command("status")
def status(
    campaign: Directory = Path(),
    train: Annotated[
        bool, typer.Option("--train", help="Measure the proxy with the labels there are now")
    ] = False,
    goal: Annotated[
        float | None, typer.Option(help="Score whose price in labels is forecast")
    ] = None,
    proxy: TrustedProxy = None,
    target: TrustedTarget = None,
    features: TrustedFeatures = None,
    json_: Json = False,
) -> None:
    """Where the campaign stands; also written as report.html."""
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
    """Write the labelled examples, with where each label comes from."""
    from keepers.cli.campaigns import run_export

    run_export(campaign, out, overwrite=overwrite, as_json=json_)


@app.command("moved")
def moved(
    pool: Annotated[str | None, typer.Argument(help="Where the pool is now")] = None,
    campaign: Directory = Path(),
    labelled: Annotated[str | None, typer.Option(help="Where --labelled of 'start' is now")] = None,
    test: Annotated[str | None, typer.Option(help="Where --test of 'start' is now")] = None,
    json_: Json = False,
) -> None:
    """Say where the data of a campaign are now, after they were moved: the same examples."""
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
        typer.Option(metavar="OLD=NEW", help="What a class of before is called now"),
    ] = None,
    json_: Json = False,
) -> None:
    """Change the classes or labels; what is left out waits, with its votes, until it comes back."""
    from keepers.cli.campaigns import run_classes

    run_classes(campaign, names, rename or [], as_json=json_)
