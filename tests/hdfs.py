"""A real HDFS for tests: Hadoop's mini cluster, from Maven Central, with a name node and a data node."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import quote

import httpx

from tests.services import Server, cache_home, downloaded, missing

HADOOP_VERSION: Final = "3.5.0"

_POM: Final = f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>lineal</groupId><artifactId>services</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.hadoop</groupId><artifactId>hadoop-client-minicluster</artifactId><version>{HADOOP_VERSION}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

_LAUNCHER: Final = """import java.io.File;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;

public class Launcher {
  public static void main(String[] arguments) throws Exception {
    Configuration configuration = new Configuration();
    configuration.setBoolean("dfs.webhdfs.enabled", true);
    configuration.setBoolean("dfs.permissions.enabled", false);
    configuration.setInt("dfs.ls.limit", 5);
    MiniDFSCluster cluster = new MiniDFSCluster.Builder(configuration, new File(arguments[1]))
        .numDataNodes(1).nameNodeHttpPort(Integer.parseInt(arguments[0])).build();
    cluster.waitActive();
    System.out.println("READY " + cluster.getDataNodes().get(0).getInfoPort());
    Thread.currentThread().join();
  }
}
"""


def hadoop_jars() -> Path:
    """The folder with Hadoop's jars; Maven brings them the first time."""
    return downloaded(
        "hdfs",
        cache_home() / f"hadoop-{HADOOP_VERSION}" / "lib",
        {"pom.xml": _POM},
        ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
        "install Maven (mvn), which downloads its jars the first time",
    )


class HdfsServer(Server):
    """An empty cluster that lists folders by five.

    `url` is where the name node's WebHDFS is, `datanode` the host and port of the data node's.
    """

    name: ClassVar[str] = "hdfs"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.url = f"http://127.0.0.1:{self.port}/webhdfs/v1"
        self.datanode = ""

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        java = shutil.which("java")
        if java is None:
            missing("hdfs", "install Java 17 or newer (java)")
        lib = hadoop_jars()
        self.home.mkdir(parents=True, exist_ok=True)
        launcher = self.home / "Launcher.java"
        launcher.write_text(_LAUNCHER)
        options = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{lib}/*"]
        return [java, *options, str(launcher), str(self.port), str(self.home / "data")], {}

    def answers(self) -> bool:
        for line in (self.home / "console.log").read_text(errors="replace").splitlines():
            if line.startswith("READY "):
                self.datanode = f"127.0.0.1:{line.split()[1]}"
                return True
        return False

    def put(self, files: dict[str, bytes]) -> None:
        """Put files there, by their absolute paths."""
        asked = {"op": "CREATE", "overwrite": "true", "user.name": "root"}
        with httpx.Client(timeout=60) as client:
            for path, data in files.items():
                sent = client.put(f"{self.url}{quote(path, safe='/=')}", params=asked)
                client.put(sent.headers["location"], content=data).raise_for_status()
