"""Emergency accesses: who broke the glass, to whose record, why, until when."""
