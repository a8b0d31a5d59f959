"""Other people's Kafka clients: how each is got ready and started. All speak the commands of README.md and answer in JSON
lines. A client of Debian's that is missing on Debian is a failure; one of a registry that is out of reach is left out, and
the reason is printed."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from cluster import TestFailure, check, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("CAIRN_INTEROP_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "cairn-interop")
PREPARE_LIMIT_S = 90
WAIT_LIMIT_S = 120  # of a busy machine too; ends a test that fails
END_LIMIT_S = 150   # a producer waits for what it sent


class LeftOut(Exception):
    """Not a failure: this client cannot be had here."""


def _run(command, **options):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              timeout=PREPARE_LIMIT_S, **options)
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    return None if done.returncode == 0 else done.stdout.decode("utf-8", "replace").strip()[-400:]


def _on_debian():
    try:
        with open("/etc/os-release") as f:
            return "ID=debian\n" in f.read()
    except OSError:
        return False


class Client:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    can_admin = True
    idempotent = True
    static_members = True
    swallows = 0  # records that a member which is told to end may count as processed without a word of them
    same_headers = False  # one set of headers for all records of a run

    def prepare(self):
        """Ready to be started, or LeftOut, or TestFailure."""

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def start(self, what, **arguments):
        return Program(self, what, arguments)

    def call(self, what, **arguments):
        return self.start(what, **arguments).finish()


class Python(Client):
    """Of Debian's own Python: another one first in PATH would not have its modules."""

    def __init__(self, name, script, module):
        self.name, self.script, self.module = name, script, module

    def prepare(self):
        problem = _run(["/usr/bin/python3", "-c", "import " + self.module])
        if problem:
            if _on_debian():
                raise TestFailure("Debian's %s is missing (deploy/install-deps --tests): %s" % (self.name, problem))
            raise LeftOut("Python module %s is not installed" % self.module)

    def command(self):
        return ["/usr/bin/python3", os.path.join(HERE, "programs", self.script)]


class KafkaPython(Python):
    idempotent = False      # it has none
    static_members = False  # nor group.instance.id
    codecs = ("none", "gzip")  # others need modules of their own, which Debian's does not bring


class Kcat(Python):
    can_admin = False
    swallows = 1  # told to end while it waits for a record, it takes this one, does not print it, and commits it
    same_headers = True

    def prepare(self):
        if not shutil.which("kcat"):
            if _on_debian():
                raise TestFailure("Debian's kcat is missing (deploy/install-deps --tests)")
            raise LeftOut("kcat is not installed")


class KafkaJs(Client):
    name = "kafkajs"
    codecs = ("none", "gzip", "snappy")  # lz4 and zstd are others' native modules
    static_members = False
    home = os.path.join(CACHE, "kafkajs")

    def prepare(self):
        if not shutil.which("npm"):
            raise LeftOut("npm is not installed")
        os.makedirs(self.home, exist_ok=True)
        package = os.path.join(HERE, "programs/kafkajs/package.json")
        shutil.copy(package, self.home)
        if not os.path.isdir(os.path.join(self.home, "node_modules/kafkajs-snappy")):
            problem = _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=self.home)
            if problem:
                raise LeftOut("npm cannot install it: " + problem)

    def command(self):
        return ["node", os.path.join(HERE, "programs/kafkajs/client.js")]

    def environment(self):
        return {"CAIRN_INTEROP_KAFKAJS": self.home}


class Java(Client):
    def __init__(self, version):
        self.name = "java-" + version.split(".")[0]
        self.version = version
        self.home = os.path.join(CACHE, "java-" + version)

    def prepare(self):
        for program in ("mvn", "javac", "java"):
            if not shutil.which(program):
                raise LeftOut("%s is not installed" % program)
        jars = os.path.join(self.home, "lib")
        if not os.path.isfile(os.path.join(self.home, "complete")):
            problem = _run(["mvn", "-q", "-B", "-f", os.path.join(HERE, "programs/java/pom.xml"), "-Dkafka.version=" + self.version,
                            "dependency:copy-dependencies", "-DoutputDirectory=" + jars])
            if problem:
                raise LeftOut("Maven cannot fetch kafka-clients %s: %s" % (self.version, problem))
            open(os.path.join(self.home, "complete"), "w").close()
        os.makedirs(os.path.join(self.home, "classes"), exist_ok=True)
        problem = _run(["javac", "-cp", jars + "/*", "-d", os.path.join(self.home, "classes"),
                        os.path.join(HERE, "programs/java/Client.java")])
        check(problem is None, "programs/java/Client.java does not compile: %s" % problem)

    def command(self):
        return ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                "%s/classes:%s/lib/*" % (self.home, self.home), "Client"]


ALL = [Python("confluent-kafka-python", "confluent.py", "confluent_kafka"),
       KafkaPython("kafka-python", "kafka_python.py", "kafka"),
       Kcat("kcat", "kcat.py", ""), KafkaJs(), Java("3.9.1"), Java("4.1.0")]


class Program:
    """A client's program, running; `lines` grows as it speaks; each has the time when it was `heard`."""

    running = []

    def __init__(self, client, what, arguments):
        self.client = client
        self.what = what
        self.lines = []
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **client.environment())
        self.process = subprocess.Popen(client.command() + [what] + ["%s=%s" % a for a in arguments.items()], env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        Program.running.append(self)
        self.errors = []
        self.threads = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_errors, daemon=True)]
        for t in self.threads:
            t.start()

    def _read(self):
        for line in self.process.stdout:
            if line.endswith("\n"):  # else it was killed meanwhile
                self.lines.append(dict(json.loads(line), heard=time.monotonic()))

    def _read_errors(self):
        for line in self.process.stderr:
            if len(self.errors) < 200:
                self.errors.append(line.rstrip())

    def of(self, key):
        return [line for line in list(self.lines) if key in line]

    def wait(self, what, condition, limit_s=WAIT_LIMIT_S):
        def there():
            value = condition(self)
            check(value or self.process.poll() is None, "%s %s ended early: %s" % (self.client.name, self.what, self.why()))
            return value
        return wait_until("%s: %s" % (self.client.name, what), there, limit_s)

    def why(self):
        return "; ".join([str(line) for line in self.of("failed") + self.of("error") + self.of("commit")][:3] + self.errors[-3:])

    def ask_end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def finish(self, limit_s=END_LIMIT_S):
        """Its lines, all of them; it ended well."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise TestFailure("%s %s did not end in %d s: %s" % (self.client.name, self.what, limit_s, self.why()))
        for t in self.threads:
            t.join(END_LIMIT_S)
        Program.running.remove(self)
        check(status in (0, -signal.SIGTERM, 128 + signal.SIGTERM) and not self.of("failed"),
              "%s %s ended with %d: %s" % (self.client.name, self.what, status, self.why()))
        return self.lines

    def end(self, limit_s=END_LIMIT_S):
        self.ask_end()
        return self.finish(limit_s)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self in Program.running:
            Program.running.remove(self)

    @classmethod
    def kill_all(cls):
        for program in list(cls.running):
            program.kill()
