"""Everything read from config/: data, checked, with no connection open."""

from dataclasses import replace
from pathlib import Path

from adapters.hl7v2.charset import codec_of
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.elements import (
    faults_of_maps,
    faults_of_source,
    in_files,
    load_elements,
    refuse,
)
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.maps import Maps, load_maps
from adapters.hl7v2.plans import overlay
from adapters.hl7v2.query_tables import QueryTables, load_query_tables
from adapters.hl7v2.rules import load_rules
from adapters.hl7v2.sensitivity import load_sensitivity
from adapters.source_codes import faults_of
from adapters.source_files import load_sources
from adapters.sources import Source, SourceRegistry
from consent.labels import LabelTable
from consent.loaded import FOLDER as COMPILED
from consent.loaded import with_loaded
from consent.regime import Sensitivity
from consent.settings import load_consent_settings
from fhir_server.profiles.load import Profiles, load_profiles
from fhir_server.search.compartments import Compartments, load_compartments
from fhir_server.search.subset import Subsets, load_subsets
from fhir_server.summary.plan import SummaryPlan, load_summary
from fhir_server.terminology.load import load_vocabulary
from fhir_server.terminology.vocabulary import Vocabulary
from hie.audit.words import AuditWords, load_audit_words
from hie.consents.forms import load_forms
from hie.consents.plain import load_plain
from hie.emergencies.policy import load_emergency_policy
from hie.kernel.errors import HieError
from hie.proxies.policy import load_policy as load_proxy_policy
from hie.settings import Settings
from hie.store.index import SearchIndex, load_index
from hie.store.masking import Masking, load_masking
from hie.subscriptions.policy import Policy, load_policy
from hie.subscriptions.topics import Topics, load_topics
from mpi.settings import load_mpi_settings
from mpi.words import Words, load_words


class Config:
    """Everything read from config/: data, checked, with no connection open."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.config
        self.sources: SourceRegistry = load_sources(
            folder / "sources", allow_adhoc=not settings.is_production
        )
        if settings.is_production:
            refuse(self._overheard())
        self.index: SearchIndex = load_index(folder / "fhir")
        self.compartments: Compartments = load_compartments(
            folder / "fhir" / "compartments.toml", self.index
        )
        maps = load_maps(folder)
        elements = load_elements(folder / "fhir" / "elements.json")
        refuse(in_files(faults_of_maps(maps, elements), folder / "hl7v2" / "segments"))
        self.terminology = maps.terminology
        self.subsets, self.masking = _views(folder / "fhir")
        self.vocabulary: Vocabulary = load_vocabulary(
            folder / "fhir" / "terminology", maps.terminology
        )
        self.profiles: Profiles = load_profiles(folder / "fhir" / "profiles")
        refuse(self._unknown_profiles())
        self.summary: SummaryPlan = load_summary(folder / "fhir", self.index.types)
        self.lifecycles = maps.lifecycles
        table = folder / "hl7v2" / "sensitivity.toml"
        self.sensitivity = load_sensitivity(table, maps.terminology)
        self.mapper = Mapper(replace(maps, also_read=self.sensitivity.reads))
        refuse(fault for source in self.sources.all() for fault in self._faults(source, maps))
        refuse(
            fault
            for source in self.sources.all()
            for fault in faults_of_source(source, overlay(maps, source), elements)
        )
        self.conformer = Conformer(load_rules(folder / "hl7v2" / "conformance.toml"))
        self.conformer.rules.check(self.sources.all(), codec_of)
        self.queries: QueryTables = load_query_tables(folder / "hl7v2" / "queries.toml")
        refuse(self._query_faults())
        self._read_law(folder, settings.regime, settings.home / COMPILED)
        self.mpi = load_mpi_settings(folder / "mpi", self.sources.record_systems())
        self.words: Words = load_words(folder / "mpi")
        self.topics: Topics = self._known_topics(folder / "fhir" / "topics")
        self.subscriptions: Policy = load_policy(folder, is_production=settings.is_production)

    def _read_law(self, folder: Path, regime: str, compiled: Path) -> None:
        """Who may see what, and who in whose place."""
        law = load_consent_settings(folder, regime)
        self.consent = replace(law, sensitivity=with_loaded(law.sensitivity, compiled))
        self.emergencies = load_emergency_policy(folder)
        self.forms = load_forms(folder / "consent" / "forms")
        self.plain = load_plain(folder / "consent" / "receipts" / "plain.toml")
        labels = LabelTable(self.consent.sensitivity)
        self.audit_words: AuditWords = load_audit_words(folder / "audit")
        refuse(_unknown_labels(self.audit_words, self.consent.sensitivity))
        self.proxies = load_proxy_policy(folder, regime, labels, tuple(self.index.types))

    def _overheard(self) -> list[str]:
        """Sources whose notices, numbers of patients, would cross a network in clear."""
        return [
            f"`{source.id}.toml` [notify.adt]: `tls` must be true in production, "
            "where `to` is another machine"
            for source in self.sources.all()
            if source.notify.adt and source.notify.adt.listener.is_overheard
        ]

    def _unknown_profiles(self) -> list[str]:
        """Profiles that source files ask for and no table describes."""
        return [
            f"{source.id}.toml [validation]: `profiles` names a profile that no file of "
            "fhir/profiles/ describes"
            for source in self.sources.all()
            for url in source.validation.profiles
            if self.profiles.get(url) is None
        ]

    def _query_faults(self) -> list[str]:
        """Parameters of queries that Patient has no search parameter for."""
        names = {parameter.name for parameter in self.queries.parameters.values()}
        return [
            f"queries.toml: `{name}` is not a search parameter of Patient in search.toml"
            for name in sorted(names)
            if self.index.param("Patient", name) is None
        ]

    def _known_topics(self, folder: Path) -> Topics:
        """Topics whose types and filters the hub knows."""
        topics = load_topics(folder)
        refuse(
            f"topics/{topic.name}.toml: `{name}` is no type or search parameter in search.toml"
            for topic in topics
            for name in (topic.resource, *topic.filters)
            if not self._knows(topic.resource, name)
        )
        return topics

    def _knows(self, type_name: str, name: str) -> bool:
        if name in (type_name, "_id"):
            return self.index.has_type(type_name)
        return self.index.has_type(type_name) and self.index.param(type_name, name) is not None

    def _faults(self, source: Source, maps: Maps) -> list[str]:
        """What is wrong with a source's codes and rows."""
        faults = faults_of(source.id, source.codes, maps.terminology)
        if not faults:
            try:
                self.mapper.check(source)
            except HieError as error:
                file = f"{source.id}.toml"
                faults = [error.text if error.text.startswith(file) else f"{file}: {error.text}"]
        return faults


def _unknown_labels(words: AuditWords, sensitivity: Sensitivity) -> list[str]:
    """Labels that forms of accountings name and no table has."""
    known = {label.code for label in sensitivity.labels}
    return [
        f"audit/forms.toml `{form.name}.labels`: expected codes of sensitivity/labels.toml"
        for form in words.forms.values()
        if not known.issuperset(form.labels)
    ]


def _views(folder: Path) -> tuple[Subsets, Masking]:
    """What is left of a resource in part: of elements asked for, without references hidden."""
    return load_subsets(folder / "subsets.json"), load_masking(folder)
