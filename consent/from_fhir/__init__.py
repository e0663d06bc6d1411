"""FHIR Consent to Directive: `directive` reads a Consent by `provision` and `moments`."""
