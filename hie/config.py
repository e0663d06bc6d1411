"""Everything read from config/: data, checked, with no connection open."""

from adapters.hl7v2.charset import codec_of
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.rules import load_rules
from adapters.source_files import load_sources
from adapters.sources import SourceRegistry
from consent.settings import load_consent_settings
from hie.settings import Settings
from hie.store.index import SearchIndex, load_index
from mpi.settings import load_mpi_settings


class Config:
    """Everything read from config/: data, checked, with no connection open."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.config
        self.sources: SourceRegistry = load_sources(
            folder / "sources", allow_adhoc=not settings.is_production
        )
        self.index: SearchIndex = load_index(folder / "fhir")
        self.mapper = Mapper(load_maps(folder))
        for source in self.sources.all():
            self.mapper.check(source)
        self.conformer = Conformer(load_rules(folder / "hl7v2" / "conformance.toml"))
        self.conformer.rules.check(self.sources.all(), codec_of)
        self.consent = load_consent_settings(folder, settings.regime)
        self.mpi = load_mpi_settings(folder / "mpi")
