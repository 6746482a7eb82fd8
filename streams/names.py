"""Every topic, group and transactional id, in one place.

All carry the installation's prefix. Those that depend on the model carry its name too, so that two models run
side by side on one cluster; model `1`, the first, has the plain names.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Names:
    """Names of one installation and model.

    >>> Names("acme-", "1").changes
    'acme-scores.changes.v1'
    >>> Names("", "trial").changes
    'scores.changes.trial.v1'
    """

    prefix: str
    model: str

    def _of_model(self, name: str) -> str:
        tag = "" if self.model == "1" else f".{self.model}"
        return f"{self.prefix}{name}{tag}.v1"

    def interactions(self, network: str) -> str:
        """Raw interactions of a network."""
        return f"{self.prefix}interactions.{network}.v1"

    def dead_letters(self, network: str) -> str:
        """What could not be taken in, in its original bytes."""
        return f"{self.prefix}interactions.{network}.dlq.v1"

    @property
    def control(self) -> str:
        """Signed commands of operators."""
        return f"{self.prefix}control.v1"

    @property
    def control_record(self) -> str:
        """What became of each command, for everyone to read."""
        return f"{self.prefix}control.record.v1"

    @property
    def control_dead_letters(self) -> str:
        """What came as a command and is none, in its original bytes."""
        return f"{self.prefix}control.dlq.v1"

    @property
    def lane_dead_letters(self) -> str:
        """Packed records that no worker could read, in their original bytes."""
        return self._of_model("lanes.dlq")

    @property
    def actors_lane(self) -> str:
        """Packed interactions, partitioned by the acting user."""
        return f"{self.prefix}lanes.actors.v1"

    @property
    def targets_lane(self) -> str:
        """Packed credits, partitioned by the credited user."""
        return self._of_model("lanes.targets")

    @property
    def state(self) -> str:
        """Changelog of the state tables."""
        return self._of_model("scores.state")

    @property
    def changes(self) -> str:
        """Public score changes."""
        return self._of_model("scores.changes")

    @property
    def population(self) -> str:
        """The users of each partition in numbers."""
        return self._of_model("population")

    @property
    def incidents(self) -> str:
        """What went wrong, or seems to."""
        return f"{self.prefix}incidents.v1"

    @property
    def incident_users(self) -> str:
        """Whom each incident touches."""
        return f"{self.prefix}incidents.users.v1"

    @property
    def feeds(self) -> str:
        """What ingest took in from each raw partition."""
        return f"{self.prefix}feeds.v1"

    @property
    def canaries(self) -> str:
        """Score changes of synthetic accounts, which are nowhere else."""
        return self._of_model("scores.canaries")

    @property
    def webhook_dead_letters(self) -> str:
        """What could not be delivered to partners."""
        return f"{self.prefix}webhooks.dlq.v1"

    @property
    def guard_states(self) -> str:
        """Changelog of what the guard's detectors have learned."""
        return self._of_model("guard.states")

    @property
    def guard_incidents(self) -> str:
        """Changelog of the incidents that the guard has in mind."""
        return self._of_model("guard.incidents")

    @property
    def guard_id(self) -> str:
        """Faust app id and consumer group of the guard."""
        tag = "" if self.model == "1" else f"-{self.model}"
        return f"{self.prefix}clout-guard{tag}"

    @property
    def affected_id(self) -> str:
        """Consumer group and transactional id of who lists whom incidents touch: a later one fences the former."""
        return f"{self.guard_id}-affected"

    @property
    def access(self) -> str:
        """API keys, hashed, and users who were claimed or are private."""
        return f"{self.prefix}access.v1"

    @property
    def gateway_id(self) -> str:
        """Name of the gateway's read models and of its readers."""
        tag = "" if self.model == "1" else f"-{self.model}"
        return f"{self.prefix}clout-gateway{tag}"

    @property
    def ingest_group(self) -> str:
        """Consumer group of ingest."""
        return f"{self.prefix}clout-ingest"

    @property
    def app_id(self) -> str:
        """Faust app id and consumer group of the score role."""
        tag = "" if self.model == "1" else f"-{self.model}"
        return f"{self.prefix}clout{tag}"

    def ingest_transactional_id(self, slot: int) -> str:
        """One stable id a process slot, so that a restarted process fences its former self."""
        return f"{self.ingest_group}-{slot}"

    @property
    def dead_letter_transactional_id(self) -> str:
        """One id for whoever sends dead letters again, so that a second one fences the first."""
        return f"{self.ingest_group}-dlq-replay"

    @property
    def retract_id(self) -> str:
        """Consumer group and transactional id of whoever takes back, so that a second one fences the first."""
        return f"{self.prefix}clout-retract"

    def task_transactional_id(self, partition: int) -> str:
        """One id a partition, so that a new owner fences the former one."""
        return f"{self.app_id}-{partition}"
