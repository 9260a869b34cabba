"""What the broker and the Connect worker share: their jars, their command line, their logging."""

from __future__ import annotations

import shutil
from pathlib import Path

from cdc_pipelines.stack.downloads import maven_jars
from cdc_pipelines.stack.errors import StackError
from cdc_pipelines.stack.layout import Layout
from cdc_pipelines.stack.part import Part, for_minutes

KAFKA_VERSION = "4.3.1"
_ARTIFACTS = (
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
    f"org.apache.kafka:connect-runtime:{KAFKA_VERSION}",
    f"org.apache.kafka:connect-json:{KAFKA_VERSION}",
    f"org.apache.kafka:connect-transforms:{KAFKA_VERSION}",
    # Kafka logs through SLF4J 1.7 and brings no binding: without one the servers stay silent.
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
    "org.apache.logging.log4j:log4j-core:2.25.1",
)


_QUICK = "-XX:TieredStopAtLevel=1"


class JvmPart(Part):
    """A part that runs out of Kafka's jars."""

    @staticmethod
    def lasting(argv: tuple[str, ...]) -> tuple[str, ...]:
        """Of a command line, what is reason enough to restart a process that was started with another."""
        return tuple(each for each in argv if each != _QUICK)

    @property
    def version(self) -> str:
        return KAFKA_VERSION

    @property
    def console(self) -> Path:
        """What the JVM itself prints; its log proper is written by log4j."""
        return self.layout.logs(self.name) / "console.log"


def jars(layout: Layout) -> Path:
    return layout.parts / f"kafka-{KAFKA_VERSION}"


def fetch_jars(part: str, layout: Layout) -> None:
    maven_jars(part, jars(layout), _ARTIFACTS)


def java(part: str, layout: Layout, heap: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The start of a command line that runs a class out of Kafka's jars."""
    program = shutil.which("java")
    if program is None:
        raise StackError(f"{part}: `java` is not installed; run scripts/install_os_packages.sh (it brings Java 17)")
    return (
        program,
        f"-Xmx{heap}",
        # A third of the CPU of a stack that lives for minutes goes into compiling; most of that is of use to one that
        # lives for hours.
        *((_QUICK,) if for_minutes() else ()),
        # On the two cores of a small machine it used a third less CPU per replicated row than the default collector.
        "-XX:+UseParallelGC",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={layout.logs(part)}/hs_err_%p.log",
        "-Djava.awt.headless=true",
        *options,
        "-cp",
        f"{jars(layout)}/libs/*",
    )


def write_logging(layout: Layout, part: str) -> Path:
    """log4j2 settings: one file for the part, rotated."""
    return layout.write(layout.conf(part) / "log4j2.properties", f"""status = error
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = {layout.logs(part)}/{part}.log
appender.file.filePattern = {layout.logs(part)}/{part}.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d %p %m (%c{{1}})%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 20MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = info
rootLogger.appenderRef.file.ref = file
# One line for every configuration value at every start of anything, otherwise.
logger.configs.name = org.apache.kafka.common.config.AbstractConfig
logger.configs.level = warn
# One line for every request otherwise.
logger.rest.name = org.apache.kafka.connect.runtime.rest.RestServer
logger.rest.level = warn
# Debezium's lag statistics: a line for every event that they leave out while a connector is busy.
logger.lag.name = io.debezium.metrics.stats.MeasurementCollector
logger.lag.level = error
""")
