"""How programs are run: limits per harness, layers that must hold, batches and audits."""

from dataclasses import asdict, dataclass, field

from pipeline.execute.job import HARNESSES

LAYERS = ("seccomp", "landlock", "namespaces", "uid", "no_new_privs", "limits")


class ExecuteConfigError(ValueError):
    """An execution setting is out of range; says which, its value and what is allowed."""


@dataclass
class Limits:
    """What one program may use.

    Attributes:
        cpu_s: processor seconds; the limit that decides on a busy host.
        wall_s: wall seconds, for programs that wait; generous, so that slow hosts do not
            turn right answers into timeouts.
        memory_mib: address space beyond the interpreter and its preloaded libraries, MiB.
        output_kib: printed bytes, KiB; more ends the program with `output_limit`.
        value_kib: length of the answer's text, KiB; a longer one is `output_limit`.
    """

    cpu_s: float = 3.0
    wall_s: float = 30.0
    memory_mib: int = 1024
    output_kib: int = 256
    value_kib: int = 512

    def check(self, where: str) -> None:
        """Raises: ExecuteConfigError if a limit is not positive or wall_s is below cpu_s."""
        for name, value in asdict(self).items():
            if not value > 0:
                raise ExecuteConfigError(f"execute.{where}.{name} is {value}, must be above 0")
        if self.wall_s < self.cpu_s:
            raise ExecuteConfigError(
                f"execute.{where}.wall_s is {self.wall_s} s, below cpu_s ({self.cpu_s} s): every"
                " program would be cut by the wall clock; raise wall_s"
            )


@dataclass
class ExecuteConfig:
    """The sandbox's settings.

    Attributes:
        function, expression, tests, variable, stdout, figure: limits of each harness.
        require: layers without which nothing is run, of `LAYERS`.
        namespaces: try to leave the host's network, IPC and process ids.
        outer: "" or "bubblewrap": start the fork servers inside `bwrap`.
        batch_size: programs that may share a process if the gate admits them; 1: none.
        patience_s: processor seconds after which a program in a batch is taken out of it and
            run alone with its whole limit.
        audit_fraction: share of batch results run again in other company and another order.
        audit_seed: which programs are audited.
        templates: run programs that differ only in number literals from one compiled template.
        retries: times a program is tried again after the sandbox itself failed.
        cache: share results between cells and runs through a folder.
    """

    function: Limits = field(default_factory=Limits)
    expression: Limits = field(default_factory=Limits)
    # The slowest of MBPP's references takes 3 s on a slow core.
    tests: Limits = field(default_factory=lambda: Limits(cpu_s=10.0, wall_s=100.0))
    variable: Limits = field(default_factory=lambda: Limits(cpu_s=5.0, wall_s=50.0))
    stdout: Limits = field(default_factory=lambda: Limits(cpu_s=5.0, wall_s=50.0))
    figure: Limits = field(
        default_factory=lambda: Limits(cpu_s=20.0, wall_s=120.0, memory_mib=2048, value_kib=6144)
    )
    require: list[str] = field(default_factory=lambda: ["seccomp", "no_new_privs", "limits"])
    namespaces: bool = True
    outer: str = ""
    batch_size: int = 512
    patience_s: float = 0.25
    audit_fraction: float = 0.01
    audit_seed: int = 0
    templates: bool = True
    retries: int = 2
    cache: bool = True

    def limits(self, harness: str) -> Limits:
        """Returns the limits of a harness. Raises: ExecuteConfigError for an unknown one."""
        if harness not in HARNESSES:
            raise ExecuteConfigError(f"no harness {harness!r}; there are {', '.join(HARNESSES)}")
        return getattr(self, harness)

    def check(self) -> None:
        """Raises: ExecuteConfigError saying what is wrong and what is allowed."""
        for harness in HARNESSES:
            self.limits(harness).check(harness)
        unknown = [name for name in self.require if name not in LAYERS]
        if unknown:
            raise ExecuteConfigError(
                f"execute.require names {', '.join(unknown)}; the layers are {', '.join(LAYERS)}"
            )
        if self.outer not in ("", "bubblewrap"):
            raise ExecuteConfigError(f'execute.outer is {self.outer!r}, must be "" or "bubblewrap"')
        if self.batch_size < 1:
            raise ExecuteConfigError(f"execute.batch_size is {self.batch_size}, must be 1 or more")
        if not 0 <= self.audit_fraction <= 1:
            raise ExecuteConfigError(
                f"execute.audit_fraction is {self.audit_fraction}, must lie in 0..1"
            )
        if self.patience_s <= 0 or self.retries < 0:
            raise ExecuteConfigError(
                f"execute.patience_s ({self.patience_s}) must be above 0 and execute.retries"
                f" ({self.retries}) 0 or more"
            )
