"""The demo from beginning to end. Every step goes through what users have: `cdc` and Dagster."""

from cdc_pipelines.dagster_client import DagsterClientError
from cdc_pipelines.demo.dagster_server import DagsterHome, DagsterServer, DagsterServerError, Storage
from cdc_pipelines.demo.live import LiveWrites
from cdc_pipelines.demo.page_server import PageServer
from cdc_pipelines.demo.scene import PROJECT, DemoFailedError, Scene
from cdc_pipelines.demo.screen import Screen
from cdc_pipelines.demo.shop import create_shop
from cdc_pipelines.demo.writer import ShopWriter

LIVE_ROUNDS = 10
WRITER_RATE = 50.0
"""Transactions a second while both sides are compared."""
_WEB_PORT = 3000
_START_PATIENCE_S = 600.0


def run_demo(scene: Scene, screen: Screen, *, scale: float = 1.0) -> None:
    """Raises DemoFailedError where something did not hold. Leaves all it started running."""
    screen.title(f"Pipeline {scene.name}: {scene.pipeline.source.type} → {scene.pipeline.target.type}")
    with screen.step("stack", "asking its parts") as step:
        step.note = _stack_parts(scene)
    with screen.step("shop", "taking down what a demo before left, making the database") as step:
        scene.cdc("teardown", scene.name, "--drop-tables", "--yes")
        with scene.admin() as admin:
            shop = create_shop(admin, scene.pipeline.source.database, scale=scale)
        step.note = f"{shop.total:,} rows in {len(shop.rows)} tables with foreign keys, one without a key"
    with screen.step("discover", "looking at the source") as step:
        found = scene.cdc_json("discover", scene.file)
        step.note = f"{len(found)} tables, {sum(len(table['columns']) for table in found)} columns"
        _require(len(found) == len(shop.rows), f"discover found {len(found)} tables, the shop has {len(shop.rows)}")
    with screen.step("configure", "checking the pipeline and saving it") as step:
        configured = scene.cdc_json("configure", scene.file)
        step.note = f"status {configured['status']}; the connector will be {configured['connector_name']}"
        _require(configured["status"] == "configured", f"the status is {configured['status']}, not configured")
    with screen.step("dagster", "starting code server, webserver and daemon") as step:
        dagster = _start_dagster(scene)
        page_url = _start_page(scene, dagster)
        step.note = f"webserver and daemon are up at {dagster.url}, the page at {page_url}"
    with screen.step("start", "the job start_replication runs in Dagster") as step:
        run_url = _start_replication(scene, dagster)
        step.note = _copied(scene, shop.total)
    with screen.step("live writes", "writing to the source and watching the target") as step:
        with scene.source() as source, scene.target() as target:
            measured = LiveWrites(source, target).measure(LIVE_ROUNDS)
        step.note = f"{len(measured)} kinds, {LIVE_ROUNDS} times each, all seen, transactions whole"
    screen.visible(measured)
    with screen.step("verify", "comparing every row of both sides while writes go on") as step:
        step.note = _verify_under_load(scene)
    with screen.step("status", "asking for the status") as step:
        facts = scene.cdc_json("status", scene.name, expect=(0, 3))
        step.note = f"cdc status {scene.name} --json"
    screen.status(facts)
    _require(facts["overall"] == "healthy", f"the pipeline is {facts['overall']}, not healthy")
    screen.line(f"All of it held, in {screen.seconds:.0f} s, and goes on running:")
    screen.line(f"  the run in Dagster   {run_url}")
    screen.line(f"  the page             {page_url}")
    screen.line(f"  in a terminal        eval \"$(.venv/bin/cdc stack env)\"; .venv/bin/cdc status {scene.name}")
    screen.line("  the end              make demo-down")


def dagster_of(scene: Scene) -> DagsterServer:
    """The demo's Dagster, running or not."""
    server = scene.stack.postgres
    home = DagsterHome.create(
        scene.home / "dagster",
        project=PROJECT,
        storage=Storage(server.host, server.port, scene.dagster_database, server.user, server.password),
        environment=scene.env,
    )
    return DagsterServer(home, port=_WEB_PORT)


def page_of(scene: Scene) -> PageServer:
    """The demo's `cdc web`, running or not."""
    return PageServer(scene.home / "page", project=PROJECT, environment=scene.env)


def _start_page(scene: Scene, dagster: DagsterServer) -> str:
    try:
        return page_of(scene).start(dagster.url)
    except DagsterServerError as error:
        raise DemoFailedError(str(error)) from error


def _start_dagster(scene: Scene) -> DagsterServer:
    dagster = dagster_of(scene)
    try:
        dagster.stop()  # one that an earlier demo left may run older code
        dagster.start()
    except DagsterServerError as error:
        raise DemoFailedError(str(error)) from error
    return dagster


def _start_replication(scene: Scene, dagster: DagsterServer) -> str:
    """Launch the job as the UI's Launchpad does and wait for its end; the run's address in the UI."""
    client = dagster.client()
    try:
        run = client.launch("start_replication", {"pipeline": scene.name, "force_resync": False})
        client.succeed(run, timeout_s=_START_PATIENCE_S)
    except (DagsterClientError, TimeoutError) as error:
        raise DemoFailedError(f"start_replication: {error}\n(Dagster is at {dagster.url})") from error
    return f"{dagster.url}/runs/{run}"


def _stack_parts(scene: Scene) -> str:
    parts = scene.cdc_json("stack", "status")
    down = [part["part"] for part in parts if part["state"] != "running"]
    _require(not down, f"not running: {', '.join(down)}; run `make up`")
    return ", ".join(f"{part['part']} {part['version']}" for part in parts)


def _copied(scene: Scene, expected: int) -> str:
    facts = scene.cdc_json("status", scene.name, expect=(0, 3))
    copied = sum(table["rows_copied"] for table in facts["tables"])
    _require(copied == expected, f"{copied:,} rows were copied, the shop has {expected:,}")
    return f"{copied:,} rows copied, connector {facts['connector']['state']}, consumer {facts['consumer']['state']}"


def _verify_under_load(scene: Scene) -> str:
    with ShopWriter(scene.source, rate=WRITER_RATE) as writer:
        report = scene.cdc_json("verify", scene.name, expect=(0, 3))
    rows = sum(table["rows_source"] for table in report["tables"])
    different = {t["table"]: t["difference_count"] for t in report["tables"] if t["difference_count"]}
    _require(report["equal"] and not different, f"the sides differ: {different}")
    _require(writer.transactions > 0, "nothing was written while both sides were compared")
    return f"{rows:,} rows are equal on both sides, compared under {writer.transactions} transactions"


def _require(held: bool, otherwise: str) -> None:
    if not held:
        raise DemoFailedError(otherwise)
