"""Schedules on a running code server, which loads them anew by itself: nobody clicks Reload."""

from collections.abc import Callable

import yaml

from tests.integration.dagster_instance import DagsterPipe, wait_for

_SCHEDULES = """
{ repositoriesOrError { ... on RepositoryConnection { nodes { schedules { name cronSchedule scheduleState { status } }
  assetNodes { assetKey { path } } } } } }"""


def shown(pipe: DagsterPipe) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """What Dagster shows of a pipeline: time and status of each schedule, and its tables."""
    (repository,) = pipe.client.graphql(_SCHEDULES)["repositoriesOrError"]["nodes"]
    schedules = {
        each["name"].removesuffix(f"__{pipe.name}"): (each["cronSchedule"], each["scheduleState"]["status"])
        for each in repository["schedules"] if each["name"].endswith(f"__{pipe.name}")
    }
    paths = [each["assetKey"]["path"] for each in repository["assetNodes"]]
    return schedules, sorted(path[-1] for path in paths if path[:-1] == [pipe.name])


def test_what_is_configured_is_shown_without_a_click(make_dagster_pipe: Callable[..., DagsterPipe]) -> None:
    pipe = make_dagster_pipe(schedules={"verify": {"cron": "0 4 1 1 *"}})
    pipe.run("create table t (id int primary key)", "create table u (id int primary key)")
    assert shown(pipe) == ({}, [])
    run = pipe.client.launch("configure", {"file": str(pipe.file)})
    pipe.client.succeed(run)
    assert any("has loaded its code location anew" in line for line in pipe.log(run)), pipe.log(run)
    assert shown(pipe) == ({"verify": ("0 4 1 1 *", "RUNNING")}, ["t", "u"])

    # And what was configured outside of Dagster, by the command line.
    document = yaml.safe_load(pipe.file.read_text())
    document["schedules"] = {"verify": {"cron": "0 5 1 1 *"}, "resync": {"cron": "0 6 1 1 *"}}
    document["tables"] = ["t"]
    pipe.file.write_text(yaml.safe_dump(document))
    pipe.configure()
    expected = ({"verify": ("0 5 1 1 *", "RUNNING"), "resync": ("0 6 1 1 *", "RUNNING")}, ["t"])
    wait_for(lambda: shown(pipe) == expected, f"Dagster to show {expected}", 180)
