"""Breaking the glass, joined: for those who ask, for patients, and for the privacy officer."""

from hie.auditing import persons_of
from hie.fitting import Fitting
from hie.flow.emergencies import Emergencies, Standing
from hie.flow.emergency_reviews import EmergencyReviews
from hie.services import Services
from hie.web import Metrics


class Breaking:
    """What opens records in an emergency, and who looks at it afterwards."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        config, law = services.config, services.consent.law

        def name_of(organization: str) -> str:
            return services.directory.called(organization)[0]

        self.desk = Emergencies(
            services.db,
            law,
            config.emergencies,
            Standing(
                is_privileged=services.directory.breaks_glass,
                name_of=name_of,
                persons_of=persons_of,
                factors=services.tokens.factors,
            ),
            services.mpi,
            Fitting(services.repository, services.mpi),
            services.tasks,
            services.keys,
            services.audit,
            services.disclosures,
        )
        self.reviews = EmergencyReviews(
            services.db,
            config.emergencies,
            services.tasks,
            services.keys,
            services.audit,
            services.disclosures,
            services.tokens.revoke,
            name_of,
        )
        opened = metrics.counter(
            "hie_emergency_accesses_total", "Records opened in an emergency.", "reason"
        )
        self.desk.on_opened = opened.inc
        asked = metrics.counter(
            "hie_emergency_questions_total", "Persons asked for in an emergency.", "reason"
        )
        self.desk.on_asked = asked.inc
