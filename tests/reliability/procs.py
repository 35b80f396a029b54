"""What /proc says: who descends from whom, who lives, what it weighs.

The measuring program makes itself the subreaper of all that it starts, so that no process of any gateway is lost to
it: whatever forks twice, takes a session of its own and empties its environment comes back here.
"""

import ctypes
import os
import signal
import time

PR_SET_CHILD_SUBREAPER = 36
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this system has no subreapers; the figures need Linux")


class Seen:
    """One process at one moment; number and start time together name it for good."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/stat", "rb") as stat:
            text = stat.read().decode("utf-8", "replace")
        before, _, after = text.rpartition(") ")
        fields = after.split()
        self.pid = pid
        self.name = before.partition("(")[2]
        self.state = fields[0]
        self.parent = int(fields[1])
        # Seconds of the processor that it used by itself.
        self.cpu = (int(fields[11]) + int(fields[12])) / TICKS
        self.start = int(fields[19])

    @property
    def key(self):
        return (self.pid, self.start)

    def __repr__(self):
        return f"{self.name}[{self.pid}] {self.state}"


def seen(pid):
    """None when it is gone."""
    try:
        return Seen(pid)
    except (OSError, IndexError, ValueError):
        return None


def is_dead(pid):
    """Gone, or not reaped yet."""
    now = seen(pid)
    return now is None or now.state in "ZX"


def everybody():
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [one for one in map(seen, pids) if one]


def below(root):
    """All descendants of a process."""
    children = {}
    for one in everybody():
        children.setdefault(one.parent, []).append(one)
    found, due = [], [root]
    while due:
        for child in children.get(due.pop(), []):
            found.append(child)
            due.append(child.pid)
    return found


def is_alive(one):
    now = seen(one.pid)
    return now is not None and now.start == one.start and now.state not in "ZX"


def alive(ones):
    return [one for one in ones if is_alive(one)]


def reap(keep):
    """Takes leave of the dead that came to us from elsewhere; those of `keep` (process ids) have someone who waits."""
    for one in everybody():
        if one.parent == os.getpid() and one.state == "Z" and one.pid not in keep:
            try:
                os.waitpid(one.pid, os.WNOHANG)
            except OSError:
                pass


def until_dead(ones, seconds, keep=()):
    """Waits. (those that still live, seconds until the last one was gone)."""
    began = time.monotonic()
    left = alive(ones)
    while left and time.monotonic() - began < seconds:
        time.sleep(0.02)
        reap(keep)
        left = alive(left)
    return left, time.monotonic() - began


def end_hard(ones):
    for one in alive(ones):
        try:
            os.kill(one.pid, signal.SIGKILL)
        except OSError:
            pass


def status_kib(pid, name):
    """One line of /proc/PID/status, KiB; 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:
            for line in status:
                if line.startswith(f"{name}:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def pss_kib(pid):
    """Its share of memory, KiB; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0


def forget_peak(pid):
    """From here on VmHWM tells the peak anew."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="utf-8") as refs:
        refs.write("5")


def n_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def n_threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as line:
            return line.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""
