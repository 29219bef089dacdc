"""What befalls one member of an etcd of several: it is started again, replaced, found to be the leader."""

import json
import shutil
import subprocess
from collections.abc import Sequence

from toolbox.running_etcd import Member, RunningEtcd
from toolbox.waiting import wait_for


class Members(RunningEtcd):
    """A context manager that starts and stops all of them."""

    def restart(self, member: Member) -> None:
        """Start one that was killed, and return when it answers."""
        member.launch(self._cluster)
        self._wait_for(member)

    def replace(self, member: Member) -> None:
        """Take one that was killed out, and have one that knows nothing in its place."""
        others = [other for other in self.members if other is not member]
        shutil.rmtree(member.data)
        wait_for(lambda: self._is_anew(member, others), f"{member.name} to be replaced")
        member.launch(self._cluster, state="existing")
        self._wait_for(member)

    def _wait_for(self, member: Member) -> None:
        wait_for(
            lambda: self._run_at([member], "endpoint", "health").returncode == 0, f"{member.name} to answer"
        )

    def _is_anew(self, member: Member, others: Sequence[Member]) -> bool:
        """Take a step towards that; etcd refuses them until those who are left have found to each other."""
        listed = self._run_at(others, "member", "list", "-w", "json")
        if listed.returncode:
            return False
        known = [one for one in json.loads(listed.stdout)["members"] if member.peer in one["peerURLs"]]
        if not known:
            self._run_at(others, "member", "add", member.name, f"--peer-urls={member.peer}")
        elif "name" in known[0]:  # of what has run
            self._run_at(others, "member", "remove", f"{known[0]['ID']:x}")
        else:
            return True
        return False

    def leader(self) -> Member:
        """Return who leads now."""

        def found() -> Member | None:
            return next((member for member in self.members if self._leads(member)), None)

        leader = wait_for(found, "a leader")
        assert leader is not None
        return leader

    def _leads(self, member: Member) -> bool:
        asked = self._run_at([member], "endpoint", "status", "-w", "json")
        if asked.returncode:
            return False
        status = json.loads(asked.stdout)[0]["Status"]
        return bool(status.get("leader") == status["header"]["member_id"])  # left out where there is none

    def disarm(self) -> None:
        """Take all alarms back."""
        wait_for(lambda: self._run("alarm", "disarm").returncode == 0, "etcd to take its alarms back")

    def compact(self, revision: int) -> bool:
        """Compact; return whether that could be done now."""
        try:
            self.ctl("compact", str(revision))
        except subprocess.CalledProcessError:
            return False
        return True
