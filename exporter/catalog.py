"""What an exporter has to tell its collectors besides flows; all its sessions read the same one. Sans-IO."""

from collections.abc import Callable, Iterable, Mapping

from exporter.optionsdata.figures import Figures
from exporter.template import Template


class Catalog:
    """The templates that data needs, and the figures for options data.

    Args:
        templates: of flow records, all that there are.
        whole: send all of them in each domain that has data, as Open vSwitch does, and in the main one ahead of any;
            else those only that the data of a domain uses.
        domain: the main observation domain.
        figures: makes a snapshot of what options data tells.

    Attributes:
        version: grows with every change; sessions look for what is new when it does.
        wanted: templates that must be known before the data that goes next, by observation domain.

    """

    def __init__(
        self, templates: Iterable[Template], whole: bool, domain: int, figures: Callable[[], Figures] = Figures
    ) -> None:
        self.version = 0
        self.wanted: dict[int, tuple[Template, ...]] = {}
        self.figures = figures
        self.set_templates(templates, whole, domain)

    def set_templates(self, templates: Iterable[Template], whole: bool, domain: int) -> None:
        """Take other templates, for data to come."""
        self.domain = domain
        self.templates = {template.id: template for template in templates}
        self._whole = tuple(self.templates.values()) if whole else None
        self.wanted = {domain: self._whole or ()}
        self.version += 1

    def set_domain(self, domain: int) -> None:
        """Take another main observation domain, or the same with other figures."""
        if domain != self.domain:
            self.set_templates(self.templates.values(), self._whole is not None, domain)
        self.version += 1

    def use(self, used: Mapping[int, Iterable[int]]) -> None:
        """Say which template ids the data uses that goes next, by observation domain."""
        if self._whole is not None:
            for domain in used:
                self.wanted.setdefault(domain, self._whole)
            return
        self.wanted = {domain: tuple(self.templates[number] for number in sorted(ids)) for domain, ids in used.items()}

    def change(self) -> None:
        """Say that what the figures tell is another thing now: sessions tell the difference."""
        self.version += 1
