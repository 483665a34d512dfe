"""Four hosts on one machine: network namespaces, joined by a bridge, on which mpiexec starts the programs of sharding.

    python tests/sharding/four_hosts.py [family ...]     as root, on Linux with iproute2

Each host has its own network interfaces and addresses, so ranks of different hosts can only talk by TCP. Compares the
answers with simulated ones, bit by bit, and shows how many bytes went over the bridge and, after all families, the link
that `fit_link` measures. Ends with status 0 where all are equal, 1 where not, 77 where the system does not allow it.
Removes what it made.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("FASTCORE_CACHE_DIR", str(ROOT / ".cache" / "tests"))

from tests.sharding import mpi  # noqa: E402

HOSTS, RANKS_A_HOST = 4, 2
NOT_ALLOWED = 77
NAME = f"fc{os.getpid() % 100_000}"  # names of interfaces have at most 15 characters
NETWORK = "10.213.77"
# Both of MPICH's network modules would find out that the hosts share a memory, and use it.
ONLY_TCP = {"UCX_TLS": "tcp,self", "FI_PROVIDER": "tcp", "FASTCORE_MPI_TIMEOUT_S": "60"}


class NotAllowedError(Exception):
    """What keeps the system from making hosts."""


def ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NotAllowedError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def address(host: int) -> str:
    return f"{NETWORK}.{host + 1}"


@contextmanager
def hosts() -> Iterator[None]:
    """Four namespaces, and in this one a bridge with an address that they reach mpiexec at."""
    if shutil.which("ip") is None:
        raise NotAllowedError("there is no `ip`: install iproute2")
    try:
        ip("link", "add", NAME, "type", "bridge")
        ip("addr", "add", f"{NETWORK}.254/24", "dev", NAME)
        ip("link", "set", NAME, "up")
        for host in range(HOSTS):
            inside, outside = f"{NAME}h{host}", f"{NAME}v{host}"
            ip("netns", "add", inside)
            ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", inside)
            ip("link", "set", outside, "master", NAME, "up")
            ip("-n", inside, "addr", "add", f"{address(host)}/24", "dev", "eth0")
            ip("-n", inside, "link", "set", "eth0", "up")
            ip("-n", inside, "link", "set", "lo", "up")
        yield
    finally:
        for host in range(HOSTS):  # with a namespace its interface goes, and the other end of it
            subprocess.run(["ip", "netns", "delete", f"{NAME}h{host}"], capture_output=True)
        subprocess.run(["ip", "link", "delete", NAME], capture_output=True)


def start(launcher: Path, script: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a script on two ranks of each host; the launcher stands in for ssh."""
    lines = [f'{address(host)}) exec ip netns exec {NAME}h{host} sh -c "$*" ;;' for host in range(HOSTS)]
    launcher.write_text(
        '#!/bin/sh\n[ "$1" = -x ] && shift\nhost=$1; shift\ncase $host in\n' + "\n".join(lines) + "\nesac\n"
    )
    launcher.chmod(0o700)
    names = ",".join(f"{address(host)}:{RANKS_A_HOST}" for host in range(HOSTS))
    command = [mpi.mpiexec(), "-launcher", "ssh", "-launcher-exec", str(launcher), "-iface", NAME, "-hosts", names]
    return subprocess.run(
        [*command, "-n", str(HOSTS * RANKS_A_HOST), sys.executable, "-m", "mpi4py", str(script), *arguments],
        env=os.environ | ONLY_TCP | {"PYTHONPATH": str(ROOT), "MPIEXEC_TIMEOUT": "120"},
        capture_output=True,
        text=True,
        timeout=130,
    )


def bridge_bytes() -> int:
    """Bytes that came from the hosts."""
    found = json.loads(ip("-j", "-s", "link", "show", "master", NAME))
    return sum(interface["stats64"]["rx"]["bytes"] for interface in found)


def compare(families: list[str], fits_link: bool) -> int:
    simulated = {family: mpi.answers(family, "simulated") for family in families}
    with tempfile.TemporaryDirectory() as folder, hosts():
        launcher, path = Path(folder) / "launcher", Path(folder) / "answers.json"
        before = bridge_bytes()
        done = start(launcher, mpi.RUNNER, str(path), *families)
        if done.returncode:
            print(done.stdout, done.stderr, sep="\n")
            return 1
        print(f"{HOSTS} hosts, {HOSTS * RANKS_A_HOST} ranks; {(bridge_bytes() - before) / 1e6:.1f} MB over the bridge")
        if fits_link:
            link = start(launcher, mpi.RUNNER.with_name("fitted_link.py")).stdout
            print("link (latency_s, bytes_per_s, flops_per_s):", link)
        answers = json.loads(path.read_text())
    wrong = 0
    for family in families:
        found = answers[family]
        differ = [name for name in found if found[name] != simulated[family][name]]
        print(f"{family}: {len(found) - len(differ)} of {len(found)} cases as simulated", *differ)
        wrong += len(differ)
    return 1 if wrong else 0


def main() -> int:
    try:
        return compare(sys.argv[1:] or mpi.families(), fits_link=len(sys.argv) == 1)
    except NotAllowedError as reason:
        print(f"This system does not allow network namespaces: {reason}")
        return NOT_ALLOWED


if __name__ == "__main__":
    sys.exit(main())
