"""FHIR R4 writes by a registered source."""
