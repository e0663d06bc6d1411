"""HL7 v2 - framing, tokenizer, conformance, mapping, acknowledgement."""
