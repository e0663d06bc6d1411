"""Who treats and where: organizations, practitioners, places."""

from tests.us_core.build import HL7, NPI, Chart, Resource, concept

PHONE: Resource = {"system": "phone", "value": "+1-617-555-0142", "use": "work"}


def add_directory(chart: Chart) -> None:
    """Two organizations, a practitioner in a role, a location."""
    _organization(chart, "hospital", "Quillby Harbor Hospital", "1234567893")
    _organization(chart, "insurer", "Pinewater Mutual Health Plan", "1245319599")
    chart.add(
        "location",
        "us-core-location",
        {
            "resourceType": "Location",
            "status": "active",
            "name": "Quillby Harbor Hospital, clinic 4",
            "telecom": [PHONE],
            "address": _address("14 Wharf Street"),
            "managingOrganization": chart.ref("hospital"),
        },
    )
    chart.add(
        "practitioner",
        "us-core-practitioner",
        {
            "resourceType": "Practitioner",
            "identifier": [{"system": NPI, "value": "1477896546"}],
            "active": True,
            "name": [{"family": "Brandvold", "given": ["Ingrid"], "prefix": ["Dr."]}],
            "telecom": [PHONE, {"system": "email", "value": "i.brandvold@quillby.example"}],
            "address": [_address("14 Wharf Street")],
        },
    )
    chart.add(
        "endpoint",
        "",
        {
            "resourceType": "Endpoint",
            "status": "active",
            "connectionType": {
                "system": HL7 + "endpoint-connection-type",
                "code": "direct-project",
            },
            "payloadType": [concept(HL7 + "endpoint-payload-type", "any", "Any")],
            "address": "mailto:clinic4@direct.quillby.example",
        },
    )
    chart.add(
        "role",
        "us-core-practitionerrole",
        {
            "resourceType": "PractitionerRole",
            "active": True,
            "practitioner": chart.ref("practitioner"),
            "organization": chart.ref("hospital"),
            "code": [concept("http://nucc.org/provider-taxonomy", "207Q00000X", "Family Medicine")],
            "specialty": [
                concept("http://nucc.org/provider-taxonomy", "207Q00000X", "Family Medicine")
            ],
            "location": [chart.ref("location")],
            "telecom": [PHONE],
            "endpoint": [chart.ref("endpoint")],
        },
    )


def _organization(chart: Chart, key: str, name: str, npi: str) -> None:
    chart.add(
        key,
        "us-core-organization",
        {
            "resourceType": "Organization",
            "identifier": [{"system": NPI, "value": npi}],
            "active": True,
            "name": name,
            "telecom": [PHONE],
            "address": [_address("1 Wharf Street")],
        },
    )


def _address(line: str) -> Resource:
    return {
        "line": [line],
        "city": "Quillby",
        "state": "MA",
        "postalCode": "01902",
        "country": "US",
    }
